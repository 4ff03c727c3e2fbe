"""Writes files/torch_windows.json, like torch_names.py: convolution, pooling and normalization, for tests/torch_windows.rs."""

import torch
import torch.nn.functional as F

import torch_names
from torch_names import case

torch_names.CASES.clear()

IMAGES, KERNELS = [2, 2, 5, 4], [3, 2, 3, 2]


def conv(name, x, w, bias=None, function=F.conv2d, **options):
    shapes = [x, w] + ([bias] if bias else [])
    case(name, shapes, lambda x, w, b=None: function(x, w, b, **options))


conv("conv2d", IMAGES, KERNELS, [3], stride=(2, 1), padding=(1, 0))
conv("conv2d dilation", IMAGES, KERNELS, [3], padding=(2, 1), dilation=(2, 3))
conv("conv2d dilation stride", [1, 1, 7, 8], [2, 1, 3, 2], stride=(2, 3), padding=1, dilation=(3, 2))
conv("conv2d groups", [2, 4, 3, 3], [6, 2, 2, 2], [6], groups=2)
conv("conv2d depthwise", [1, 3, 4, 4], [6, 1, 3, 3], None, groups=3, padding=1, stride=2)
conv("conv2d all", [1, 4, 6, 5], [2, 2, 2, 2], [2], stride=2, padding=1, dilation=2, groups=2)
conv("conv1d", [2, 2, 7], [3, 2, 3], [3], F.conv1d, stride=2, padding=1)
conv("conv1d all", [1, 4, 9], [2, 2, 3], [2], F.conv1d, stride=2, padding=2, dilation=3, groups=2)
back = F.conv_transpose2d
conv("conv_transpose2d", [2, 3, 2, 3], [3, 2, 3, 2], [2], back)
conv("conv_transpose2d stride", [1, 2, 3, 2], [2, 2, 3, 2], [2], back, stride=(2, 3), padding=(1, 0))
conv("conv_transpose2d output_padding", [1, 2, 3, 2], [2, 1, 3, 2], [1], back, stride=(2, 3), output_padding=(1, 2))
conv("conv_transpose2d dilation", [1, 2, 3, 2], [2, 1, 2, 3], None, back, dilation=(3, 2), padding=1)
conv("conv_transpose2d groups", [2, 4, 2, 2], [4, 3, 2, 2], [6], back, groups=2, stride=2)
conv("conv_transpose1d", [2, 2, 4], [2, 3, 3], [3], F.conv_transpose1d, stride=2, padding=1, output_padding=1)

case("max_pool2d", [[1, 2, 5, 6]], lambda x: F.max_pool2d(x, 3, 2).square())
case("max_pool2d padding", [[2, 1, 5, 6]], lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 1)).square())
case("avg_pool2d", [[1, 2, 5, 6]], lambda x: F.avg_pool2d(x, 3, 2).square())
case("avg_pool2d padding", [[2, 1, 5, 6]], lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 1)).square())
case(
    "avg_pool2d elements",
    [[2, 1, 5, 6]],
    lambda x: F.avg_pool2d(x, (3, 2), (2, 1), (1, 1), count_include_pad=False).square(),
)
case("global_max_pool2d", [[2, 2, 3, 3]], lambda x: F.adaptive_max_pool2d(x, 1).square())
case("global_avg_pool2d", [[2, 2, 3, 3]], lambda x: F.adaptive_avg_pool2d(x, 1).square())

case("standardize", [[3, 4]], lambda x: F.layer_norm(x, (4,), eps=1e-3))
case("standardize axes", [[2, 2, 3]], lambda x: F.layer_norm(x, (2, 3), eps=1e-3))
case("instance norm", [[2, 2, 2, 3]], lambda x: F.instance_norm(x, eps=1e-3))
case("layer_norm", [[3, 4], [4], [4]], lambda x, w, b: F.layer_norm(x, (4,), w, b, 1e-3))
case("rms_norm", [[3, 4], [4]], lambda x, w: F.rms_norm(x, (4,), w, 1e-3))
case("rms_norm axes", [[2, 2, 3], [2, 3]], lambda x, w: F.rms_norm(x, (2, 3), w, 1e-3))


def batch_norm(x, w, b):
    return F.batch_norm(x, None, None, w, b, True, 0.1, 1e-3)


def running(x, w, b):
    mean, variance = torch.zeros(2), torch.ones(2)
    F.batch_norm(x.detach(), mean, variance, None, None, True, 0.3, 1e-3)
    F.batch_norm(2 * x.detach(), mean, variance, None, None, True, 0.3, 1e-3)
    return F.batch_norm(x, mean, variance, w, b, False, 0.3, 1e-3)


case("batch_norm", [[4, 2], [2], [2]], batch_norm)
case("batch_norm images", [[2, 2, 2, 3], [2], [2]], batch_norm)
case("batch_norm_running", [[2, 2, 2, 3], [2], [2]], running)
case(
    "batch_norm_with",
    [[2, 3, 2], [3], [3], [3], [3]],
    lambda x, m, v, w, b: (x - m[:, None]) * (v[:, None] + 1e-3).rsqrt() * w[:, None] + b[:, None],
    0.2,
    1.5,
)

if __name__ == "__main__":
    torch_names.table("torch_windows.json")

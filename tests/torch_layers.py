"""Writes files/torch_layers.json: PyTorch's values and gradients of layers in float64, for tests/torch_layers.rs.

Inputs and parameters have the numbers of `spread`, with a number for each array: 0 for the input, then the parameters in
order. With fixed weights u and w the table holds the output y, the gradients of L = sum(u y) by the input and the parameters,
and the gradients of sum(w dL/dx) by the same: second derivatives. Buffers are those after the pass.
"""

import json
import pathlib

import torch
import torch.nn as nn

from torch_names import spread

CASES = {}


def case(name, x, module, training=True, forward=None):
    assert name not in CASES, name
    CASES[name] = (x, module, training, forward or (lambda m, x: m(x)))


def images(*shape):
    return lambda m, x: m(x.reshape(-1, *shape)).flatten(1)


case("Conv2d", [2, 2 * 5 * 4], nn.Conv2d(2, 3, (3, 2), (2, 1), (1, 0)), forward=images(2, 5, 4))
case("Conv2d groups", [2, 4 * 5 * 5], nn.Conv2d(4, 6, 2, 2, 1, 2, 2), forward=images(4, 5, 5))
case("MaxPool2d", [2, 2 * 5 * 6], nn.MaxPool2d((3, 2), (2, 1), (1, 1)), forward=images(2, 5, 6))
case("AvgPool2d", [2, 2 * 5 * 6], nn.AvgPool2d((3, 2), (2, 1), (1, 1)), forward=images(2, 5, 6))
case("AvgPool2d elements", [1, 30], nn.AvgPool2d((3, 2), 2, 1, count_include_pad=False), forward=images(1, 5, 6))
case("LayerNorm", [3, 4], nn.LayerNorm(4))
case("BatchNorm", [4, 3], nn.BatchNorm1d(3, momentum=0.3))
case("BatchNorm images", [2, 2 * 2 * 3], nn.BatchNorm2d(2), forward=images(2, 2, 3))
case("BatchNorm eval", [4, 3], nn.BatchNorm1d(3), training=False)
case("BatchNorm images eval", [2, 2 * 2 * 3], nn.BatchNorm2d(2), training=False, forward=images(2, 2, 3))


class Rnn(nn.Module):
    def __init__(self, inputs, hidden, kind, gates):
        super().__init__()
        self.w_ih = nn.Parameter(torch.zeros(inputs, gates * hidden))
        self.w_hh = nn.Parameter(torch.zeros(hidden, gates * hidden))
        self.bias = nn.Parameter(torch.zeros(gates * hidden))
        self.inputs, self.hidden, self.kind = inputs, hidden, kind

    def tensors(self):
        """The weights as PyTorch stores them: transposed, and two biases."""
        return self.w_ih.T, self.w_hh.T, self.bias, torch.zeros_like(self.bias)


class Cell(Rnn):
    def forward(self, x):
        x, state = x[:, : self.inputs], x[:, self.inputs :]
        if self.kind == "rnn":
            return torch.rnn_tanh_cell(x, state, *self.tensors())
        h, c = state[:, : self.hidden], state[:, self.hidden :]
        return torch.cat(torch.lstm_cell(x, (h, c), *self.tensors()), 1)


class Sequence(Rnn):
    """All steps by torch.lstm or torch.rnn_tanh; the rows hold the steps one after the other."""

    def forward(self, x):
        steps = x.reshape(x.shape[0], -1, self.inputs)
        zeros = torch.zeros(1, x.shape[0], self.hidden)
        rest = (True, 1, 0.0, True, False, True)
        if self.kind == "rnn":
            return torch.rnn_tanh(steps, zeros, list(self.tensors()), *rest)[0].flatten(1)
        return torch.lstm(steps, (zeros, zeros), list(self.tensors()), *rest)[0].flatten(1)


case("RnnCell", [3, 2 + 4], Cell(2, 4, "rnn", 1))
case("LstmCell", [3, 2 + 4 + 4], Cell(2, 4, "lstm", 4))
case("Rnn", [2, 3 * 2], Sequence(2, 3, "rnn", 1))
case("Lstm", [2, 3 * 2], Sequence(2, 3, "lstm", 4))


class Attention(nn.Module):
    """torch.nn.functional.multi_head_attention_forward, with weights in the layout (in, out)."""

    def __init__(self, width, heads, causal):
        super().__init__()
        for name in ["q", "k", "v", "o"]:
            setattr(self, "weight_" + name, nn.Parameter(torch.zeros(width, width)))
            setattr(self, "bias_" + name, nn.Parameter(torch.zeros(width)))
        self.width, self.heads, self.causal = width, heads, causal

    def forward(self, x):
        batch = x.reshape(x.shape[0], -1, self.width).transpose(0, 1)
        bias = torch.cat([self.bias_q, self.bias_k, self.bias_v])
        mask = nn.Transformer.generate_square_subsequent_mask(batch.shape[0]) if self.causal else None
        y, _ = nn.functional.multi_head_attention_forward(
            batch,
            batch,
            batch,
            self.width,
            self.heads,
            None,
            bias,
            None,
            None,
            False,
            0.0,
            self.weight_o.T,
            self.bias_o,
            attn_mask=mask,
            need_weights=False,
            use_separate_proj_weight=True,
            q_proj_weight=self.weight_q.T,
            k_proj_weight=self.weight_k.T,
            v_proj_weight=self.weight_v.T,
        )
        return y.transpose(0, 1).flatten(1)


torch.backends.cuda.enable_flash_sdp(False)
torch.backends.cuda.enable_mem_efficient_sdp(False)
case("Attention", [2, 3 * 4], Attention(4, 2, False))
case("Attention causal", [2, 3 * 4], Attention(4, 2, True))


def table():
    rows = {}
    for name, (shape, module, training, forward) in CASES.items():
        module.double().train(training)
        for k, (kind, value) in enumerate(module.named_buffers()):
            if value.dtype == torch.float64:
                value.copy_(spread(list(value.shape), 0.3, 1.3, 20 + k))
        for k, parameter in enumerate(module.parameters()):
            parameter.data = spread(list(parameter.shape), -1.0, 1.0, k + 1)
        x = spread(shape, -1.0, 1.0, 0).requires_grad_()
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            y = forward(module, x)
        sources = [x, *module.parameters()]
        loss = (y * spread(list(y.shape), -1.0, 1.0, 7)).sum()
        first = torch.autograd.grad(loss, sources, create_graph=True)
        total = (first[0] * spread(list(x.shape), -1.0, 1.0, 11)).sum()
        second = [None] * len(sources)
        if total.requires_grad:
            second = torch.autograd.grad(total, sources, allow_unused=True)
        second = [torch.zeros_like(a) if g is None else g for a, g in zip(sources, second)]
        numbers = lambda a: a.detach().flatten().tolist()
        rows[name] = {
            "input": shape,
            "parameters": [list(p.shape) for p in module.parameters()],
            "value": numbers(y),
            "first": [numbers(g) for g in first],
            "second": [numbers(g) for g in second],
            "buffers": [numbers(b) for b in module.buffers() if b.dtype == torch.float64],
        }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    (pathlib.Path(__file__).parent / "files" / "torch_layers.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    table()

"""Writes files/torch_decompositions.json, like torch_names.py: eigh, qr and svd, for tests/decompositions.rs.

LAPACK leaves the signs of vectors to the algorithm. Here they are turned as the library fixes them.
"""

import torch

import torch_names
from torch_names import case

torch_names.CASES.clear()


def signs(columns):
    """The sign of the first element in each column that is within a tenth of the largest."""
    size = columns.detach().abs()
    first = (size >= 0.9 * size.amax(-2, keepdim=True)).int().argmax(-2, keepdim=True)
    return torch.gather(columns.detach(), -2, first).sign() if columns.numel() else columns.detach().sum(-2, keepdim=True)


def near(x, *diagonal):
    """Matrices near one with this diagonal."""
    middle = torch.zeros(x.shape[-2:])
    middle.diagonal().copy_(torch.tensor(diagonal))
    return 0.4 * x + middle


def eigh(x):
    values, vectors = torch.linalg.eigh((x + x.mT) / 2)
    return values, vectors * signs(vectors)


def qr(x):
    q, r = torch.linalg.qr(x)
    turn = r.detach().diagonal(dim1=-2, dim2=-1).sign()
    return q * turn.unsqueeze(-2), r * turn.unsqueeze(-1)


def svd(x):
    u, values, v_t = torch.linalg.svd(x, full_matrices=False)
    turn = signs(u)
    return u * turn, values, v_t * turn.mT


def both(f):
    """All factors in one array, so that the loss has a weight for each element."""
    return lambda x: torch.cat([factor.flatten() for factor in f(x)])


D = (1.0, 3.0, -2.0, 6.0)
case("eigh", [[4, 4]], both(lambda x: eigh(near(x, *D))))
case("eigh batch", [[2, 2, 3, 3]], both(lambda x: eigh(near(x, *D[:3]))))
case("eigh of one", [[2, 1, 1]], both(eigh))
case("eigh of two", [[2, 2]], both(eigh))
case("eigh empty batch", [[0, 3, 3]], both(eigh))
case("eigvalsh", [[2, 3, 3]], lambda x: torch.linalg.eigvalsh((x + x.mT) / 2))
case("eigh function", [[3, 3]], lambda x: (lambda l, v: (v * l.exp().unsqueeze(-2)) @ v.mT)(*eigh(x)))
case("qr", [[4, 4]], both(lambda x: qr(near(x, *D))))
case("qr tall", [[5, 3]], both(lambda x: qr(x)))
case("qr wide", [[2, 5]], both(lambda x: qr(x)))
case("qr batch", [[3, 2, 3, 2]], both(qr))
case("qr wide batch", [[2, 2, 3]], both(qr))
case("qr of one", [[1, 1]], both(qr))
case("qr column", [[4, 1]], both(qr))
case("qr row", [[1, 4]], both(qr))
case("qr empty batch", [[0, 3, 2]], both(qr))
case("svd", [[4, 4]], both(lambda x: svd(near(x, *D))))
case("svd tall", [[5, 3]], both(lambda x: svd(near(x, *D[:3]))))
case("svd wide", [[3, 5]], both(lambda x: svd(near(x, *D[:3]))))
case("svd batch", [[2, 2, 4, 2]], both(lambda x: svd(near(x, *D[:2]))))
case("svd wide batch", [[2, 2, 3]], both(svd))
case("svd of one", [[1, 1]], both(svd))
case("svd column", [[4, 1]], both(svd))
case("svd row", [[1, 4]], both(svd))
case("svd empty batch", [[0, 2, 3]], both(svd))
case("svdvals", [[2, 3, 4]], torch.linalg.svdvals)
case("svd product", [[4, 3]], lambda x: (lambda u, s, v_t: u @ v_t)(*svd(x)))

if __name__ == "__main__":
    torch_names.table("torch_decompositions.json")

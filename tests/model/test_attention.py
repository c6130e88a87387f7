"""Attention is the textbook's, whichever way it is computed (Eq. 2)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from geopix.model.attention import Attention


def textbook(attention: Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The same by torch's own module."""
    width, inner = attention.query.in_features, attention.query.out_features
    reference = torch.nn.MultiheadAttention(inner, attention.heads, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.eye(inner).repeat(3, 1))
        reference.in_proj_bias.zero_()
        reference.out_proj.weight.copy_(torch.eye(inner))
        reference.out_proj.bias.zero_()
    assert width
    projected = attention.query(query), attention.key(key), attention.value(value)
    result: Tensor = attention.out(reference(*projected, need_weights=False)[0])
    return result


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(
    ("n_queries", "n_keys"),
    [(5, 300), (300, 5), (40, 50), (1, 200), (200, 1)],
    ids=["few-many", "many-few", "alike", "one-many", "many-one"],
)
def test_it_is_the_textbooks(n_queries: int, n_keys: int, grad: bool) -> None:
    torch.manual_seed(0)
    attention = Attention(64, 4, memory_width=48, inner=32)
    query, key, value = torch.randn(3, n_queries, 64), torch.randn(3, n_keys, 48), torch.randn(3, n_keys, 48)
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(
            attention(query, key, value), textbook(attention, query, key, value), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(("n_queries", "n_keys"), [(5, 300), (300, 5), (40, 50)])
def test_what_groups_share_need_not_be_repeated(n_queries: int, n_keys: int) -> None:
    torch.manual_seed(0)
    attention = Attention(64, 4, inner=32)
    keys, queries = torch.randn(6, n_keys, 64), torch.randn(6, n_queries, 64)
    shared_query, shared_keys = torch.randn(2, n_queries, 64), torch.randn(2, n_keys, 64)
    everyone = attention(shared_query.repeat_interleave(3, dim=0), keys, keys)
    torch.testing.assert_close(attention(shared_query, keys, keys), everyone, rtol=1e-4, atol=1e-5)
    everyone = attention(queries, shared_keys.repeat_interleave(3, dim=0), shared_keys.repeat_interleave(3, dim=0))
    torch.testing.assert_close(attention(queries, shared_keys, shared_keys), everyone, rtol=1e-4, atol=1e-5)

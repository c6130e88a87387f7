"""The language model: image tokens among words, LoRA on W_q and W_v, new words for masks (§III-A, §V-A)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import PreTrainedModel


def extend_vocabulary(llm: PreTrainedModel, size: int, seed: int = 0, known: int | None = None) -> None:
    """Give a causal LM embeddings for new tokens: the mean of the known ones and a little noise of its own.

    Args:
        llm: Changed in place.
        size: The vocabulary's new size; nothing happens where the model knows as many tokens.
        seed: The noise is the same on every machine, because adapters are trained against it.
        known: How many rows mean something, where the model has rows to spare behind them; all by default.
    """
    embeddings: Any = llm.get_input_embeddings()
    present = int(embeddings.num_embeddings)
    known = present if known is None else min(known, present)
    if size <= known:
        return
    if size > present:
        llm.resize_token_embeddings(size, mean_resizing=False)
    noise = torch.Generator().manual_seed(seed)
    # Always in this order; where the two are tied, the second draw stays.
    tables: list[Any] = [llm.get_input_embeddings(), llm.get_output_embeddings()]
    with torch.no_grad():
        for table in tables:
            rows = table.weight[:known].float()
            drawn = torch.randn(size - known, rows.shape[1], generator=noise).to(rows.device)
            new = drawn * rows.std(dim=0) * 0.5 + rows.mean(dim=0)
            table.weight[known:size] = new.to(table.weight.dtype)


def add_lora(llm: PreTrainedModel, rank: int, alpha: int, dropout: float, new_ids: Sequence[int]) -> PeftModel:
    """LoRA on W_q and W_v, and trainable rows for the new tokens only, in PEFT's own form.

    The rows are those of the embeddings, and of the head where it is not tied to them (LLaVA's is not): a new token
    must be read and said.

    Args:
        llm: Frozen, but for the adapter.
        rank, alpha, dropout: LoRA's settings (rank 128, then 8 in the paper's stages).
        new_ids: The vocabulary rows that train.
    """
    embeddings, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    rows = {"embed_tokens": list(new_ids)}
    if head is not None and head.weight is not embeddings.weight:
        rows[next(name for name, module in llm.named_modules() if module is head)] = list(new_ids)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=["q_proj", "v_proj"],
        trainable_token_indices=rows,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():  # peft 0.21 asks transformers 5.23 for a property under its old name
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(llm, config)


class LanguageModel(nn.Module):
    """A causal LM seen as two maps: embeddings to last hidden states, and hidden states to word logits.

    Args:
        llm: Any transformers causal LM, with or without a PEFT adapter.
        image_id: The token that stands for an image's features.
    """

    def __init__(self, llm: PreTrainedModel | PeftModel, image_id: int) -> None:
        super().__init__()
        self.llm = llm
        self.image_id = image_id

    @property
    def causal(self) -> Any:
        """The transformers model itself, whatever adapter lies around it."""
        return self.llm.get_base_model() if isinstance(self.llm, PeftModel) else self.llm

    @property
    def hidden(self) -> int:
        """Width of its hidden states."""
        return int(self.causal.config.hidden_size)

    def embed(self, ids: Tensor, image_tokens: Tensor | None = None) -> Tensor:
        """(B, n) ids -> (B, n, hidden), the image's tokens (B, m, hidden) in the places of ``image_id``.

        Raises:
            ValueError: If the ids hold another number of image places than there are image tokens.
        """
        embedded = self.causal.get_input_embeddings()(ids)
        if image_tokens is None:
            return embedded
        places = ids == self.image_id
        if int(places.sum()) != image_tokens.shape[0] * image_tokens.shape[1]:
            raise ValueError(f"{int(places.sum())} image places for {image_tokens.shape[:2]} image tokens")
        return embedded.masked_scatter(places[..., None].to(embedded.device), image_tokens.to(embedded))

    def forward(
        self, embedded: Tensor, mask: Tensor | None = None, cache: Any = None, positions: Tensor | None = None
    ) -> Tensor:
        """(B, n, hidden) -> last hidden states of the same shape.

        Args:
            embedded: Words and image tokens.
            mask: (B, past + n) 1 where there is a token, or (B, 1, n, n) what sees what (`branching`); None where
                every token sees all before it.
            cache: A transformers cache of the n_past tokens before, extended in place.
            positions: (B, n) where the tokens stand; by default one after the other.
        """
        if (
            mask is not None and positions is None
        ):  # counting only real tokens, so that padding on the left changes nothing
            positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)[:, -embedded.shape[1] :]
        output = self.causal.base_model(
            inputs_embeds=embedded,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return output.last_hidden_state

    def words(self, hidden: Tensor) -> Tensor:
        """Hidden states (..., hidden) -> logits (..., vocabulary)."""
        return self.causal.get_output_embeddings()(hidden)


def branching(branches: Tensor) -> Tensor:
    """What sees what where several dialogues go on from one beginning: (B, n) -> (B, 1, n, n) bool.

    A dialogue sees what was said before it and in it, and nothing of the others, so an image is paid for once
    however many dialogues are held about it.

    Args:
        branches: 0 for the beginning that all share, then one number a dialogue, -1 for padding.
    """
    n = branches.shape[1]
    own = branches[:, :, None] == branches[:, None, :]  # padding sees padding, so that no row is empty
    before = torch.ones(n, n, dtype=torch.bool, device=branches.device).tril()
    return ((own | (branches[:, None, :] == 0)) & before)[:, None]

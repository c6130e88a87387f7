"""Words look at the image a second time (ours, docs/paper.md): what Eq. 2 and 3 give to masks, given to words."""

from __future__ import annotations

from torch import Tensor, nn

from geopix.model.attention import Attention


class SecondLook(nn.Module):
    """Every last hidden state asks the encoder's features, of all scales, and adds what it found.

    What is found is multiplied by what is asked before it is added, because one image answers many questions. It
    begins at zero, so a language model that already speaks is not disturbed.

    Args:
        channels: Channels of the encoder, of all scales together.
        hidden: Width of the LLM.
        inner: Channels of the attention.
        heads: Of it.
    """

    def __init__(self, channels: int, hidden: int, inner: int = 256, heads: int = 4) -> None:
        super().__init__()
        self.image_norm = nn.LayerNorm(channels)
        self.words_norm = nn.LayerNorm(hidden)
        self.attention = Attention(hidden, heads, memory_width=channels, inner=inner)
        self.asked = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, hidden)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, hidden: Tensor, features: Tensor) -> Tensor:
        """(B, n, hidden), (B, L, patches, channels) -> (B, n, hidden)."""
        image = self.image_norm(features.transpose(1, 2).flatten(2))
        words = self.words_norm(hidden.to(image.dtype))
        found = self.attention(words, image, image) * self.asked(words)
        return hidden + self.out(found).to(hidden.dtype)

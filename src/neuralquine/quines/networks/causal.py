"""A small decoder-only transformer on token ids, with learned positions, causal attention and a tied head."""

from __future__ import annotations

from torch import Tensor, nn

CONTEXT = 16


class CausalTransformer(nn.Module):
    """Token ids ``(B, T)``, T at most 16, to logits of the last position ``(B, vocabulary)``; pre-norm, GELU.

    Source: Radford et al. (2019), "Language models are unsupervised multitask learners", at a small size.
    """

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.vocabulary, self.width, self.layers, self.heads = vocabulary, width, layers, heads
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(CONTEXT, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        nn.init.normal_(self.tokens.weight, std=0.02 * (768 / width) ** 0.5)
        nn.init.normal_(self.positions.weight, std=0.02 * (768 / width) ** 0.5)

    def forward(self, ids: Tensor) -> Tensor:
        length = ids.shape[1]
        x = self.tokens(ids) + self.positions.weight[:length]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=x.device, dtype=x.dtype)
        for block in self.blocks:
            x = block(x, src_mask=mask, is_causal=True)
        return self.head(self.norm(x[:, -1]))

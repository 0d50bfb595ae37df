#!/usr/bin/env python3
"""Writes operations.safetensors: what PyTorch's own modules compute, for nn/tests/pytorch.rs.

    pip install torch==2.13.0 safetensors numpy
    ATEN_CPU_CAPABILITY=avx2 python3 nn/tests/pytorch/operations.py

For each case NAME the file holds NAME/x (input), NAME/y (output), NAME/g (gradient by y that was fed
in), NAME/dx (gradient by x, but for tokens), the parameters and buffers under their PyTorch names
(NAME/p/..) and their gradients (NAME/d/..). The metadata has each case's operation as in a MixNNModel.
Parameters are random numbers, not PyTorch's first ones, so that zeros and ones hide nothing.
"""

import json
import pathlib

import torch
from safetensors.torch import save_file
from torch import nn

OUT = pathlib.Path(__file__).with_name("operations.safetensors")


class Residual(nn.Module):
    def __init__(self, body, shortcut=()):
        super().__init__()
        self.body, self.shortcut = nn.Sequential(*body), nn.Sequential(*shortcut)

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


class SelfAttention(nn.MultiheadAttention):
    mask = None

    def forward(self, x):
        return super().forward(x, x, x, attn_mask=self.mask)[0]


class Encoder(nn.TransformerEncoderLayer):
    mask, first = None, None

    def forward(self, x):
        first = self.first or x.shape[1]
        y = super().forward(x[:, :first], src_mask=self.mask)
        return torch.cat([y, x[:, first:]], 1)


class Decoder(nn.TransformerDecoderLayer):
    memory = 0

    def forward(self, x):
        memory, target = x[:, : self.memory], x[:, self.memory :]
        y = super().forward(target, memory, tgt_mask=causal(target.shape[1]))
        return torch.cat([memory, y], 1)


class Positions(nn.Embedding):
    def forward(self, x):
        return x + self.weight[: x.shape[1]]


class Waves(nn.Module):
    def forward(self, x):
        length, size = x.shape[1:]
        p = torch.arange(length, dtype=torch.float64)[:, None]
        even = torch.arange(0, size, 2, dtype=torch.float64)
        angle = p / 10000 ** (even / size)
        return x + torch.stack([angle.sin(), angle.cos()], -1).reshape(length, size).float()


class Do(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def causal(n):
    return torch.ones(n, n, dtype=torch.bool).triu(1)


def with_mask(module, mask, **more):
    module.mask = mask
    for name, value in more.items():
        setattr(module, name, value)
    return module


def window(n, w, is_causal):
    distance = torch.arange(n)[:, None] - torch.arange(n)[None, :]
    return (distance > w) | (distance < (0 if is_causal else -w))


tokens = torch.tensor([[0, 3, 2, 6, 1], [5, 5, 4, 0, 2]])
E = dict(d_model=8, nhead=2, dim_feedforward=12, dropout=0.0, batch_first=True)
e = {"size": 8, "heads": 2, "feedForward": 12}
CASES = {
    "linear": ({"linear": {"in": 5, "out": 3}}, nn.Linear(5, 3), (4, 5)),
    "linear-sequence": ({"linear": {"in": 5, "out": 3, "bias": False}}, nn.Linear(5, 3, bias=False), (2, 4, 5)),
    "conv1d": (
        {"conv1d": {"in": 4, "out": 6, "kernel": 3, "stride": 2, "padding": 2, "dilation": 2, "groups": 2}},
        nn.Conv1d(4, 6, 3, 2, 2, 2, 2), (2, 4, 11)),
    "conv2d": (
        {"conv2d": {"in": 4, "out": 6, "kernel": 3, "stride": 2, "padding": 1, "dilation": 2, "groups": 2}},
        nn.Conv2d(4, 6, 3, 2, 1, 2, 2), (2, 4, 9, 8)),
    "conv-transpose2d": (
        {"convTranspose2d": {"in": 4, "out": 6, "kernel": 3, "stride": 2, "padding": 1, "outputPadding": 1, "groups": 2}},
        nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, 2), (2, 4, 5, 6)),
    "batch-norm1d": ({"batchNorm": {"channels": 3}}, nn.BatchNorm1d(3), (6, 3)),
    "batch-norm2d": ({"batchNorm": {"channels": 3, "momentum": 0.3, "eps": 1e-3}}, nn.BatchNorm2d(3, 1e-3, 0.3), (4, 3, 5, 2)),
    "group-norm": ({"groupNorm": {"groups": 2, "channels": 6}}, nn.GroupNorm(2, 6), (3, 6, 4, 4)),
    "layer-norm": ({"layerNorm": {"shape": [3, 4]}}, nn.LayerNorm([3, 4]), (2, 5, 3, 4)),
    "relu": ({"relu": {}}, nn.ReLU(), (3, 7)),
    "gelu": ({"gelu": {}}, nn.GELU(), (3, 7)),
    "gelu-tanh": ({"gelu": {"approximate": "tanh"}}, nn.GELU("tanh"), (3, 7)),
    "silu": ({"silu": {}}, nn.SiLU(), (3, 7)),
    "tanh": ({"tanh": {}}, nn.Tanh(), (3, 7)),
    "sigmoid": ({"sigmoid": {}}, nn.Sigmoid(), (3, 7)),
    "leaky-relu": ({"leakyRelu": {"slope": 0.2}}, nn.LeakyReLU(0.2), (3, 7)),
    "softmax": ({"softmax": {"dim": 0}}, nn.Softmax(1), (2, 4, 3)),
    "max-pool2d": ({"maxPool2d": {"kernel": 3, "stride": 2, "padding": 1}}, nn.MaxPool2d(3, 2, 1), (2, 3, 8, 7)),
    "avg-pool2d": ({"avgPool2d": {"kernel": 3, "stride": 2, "padding": 1}}, nn.AvgPool2d(3, 2, 1), (2, 3, 8, 7)),
    "adaptive-max-pool2d": ({"adaptiveMaxPool2d": {"height": 3, "width": 2}}, nn.AdaptiveMaxPool2d((3, 2)), (2, 3, 8, 7)),
    "adaptive-avg-pool2d": ({"adaptiveAvgPool2d": {"height": 3, "width": 2}}, nn.AdaptiveAvgPool2d((3, 2)), (2, 3, 8, 7)),
    "flatten": ({"flatten": {}}, nn.Flatten(), (2, 3, 4)),
    "reshape": ({"reshape": {"shape": [2, 6]}}, nn.Unflatten(1, (2, 6)), (3, 12)),
    "permute": ({"permute": {"order": [2, 0, 1]}}, Do(lambda x: x.permute(0, 3, 1, 2)), (2, 3, 4, 5)),
    "mean": ({"mean": {"dim": 0}}, Do(lambda x: x.mean(1)), (2, 3, 4)),
    "embedding": ({"embedding": {"count": 7, "size": 4, "padding": 2}}, nn.Embedding(7, 4, padding_idx=2), tokens),
    "positional-embedding": ({"positionalEmbedding": {"length": 6, "size": 4}}, Positions(6, 4), (2, 5, 4)),
    "sinusoidal": ({"positionalEmbedding": {"length": 9, "size": 6, "kind": "Sinusoidal"}}, Waves(), (2, 7, 6)),
    "residual": (
        {"residual": {"body": [{"linear": {"in": 4, "out": 4}}, {"tanh": {}}]}},
        Residual([nn.Linear(4, 4), nn.Tanh()]), (3, 4)),
    "residual-shortcut": (
        {"residual": {"body": [{"conv2d": {"in": 2, "out": 4, "kernel": 3, "padding": 1, "bias": False}}, {"batchNorm": {"channels": 4}}],
                      "shortcut": [{"conv2d": {"in": 2, "out": 4, "kernel": 1}}, {"batchNorm": {"channels": 4}}]}},
        Residual([nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)], [nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)]), (3, 2, 4, 5)),
    "attention": ({"attention": {"size": 8, "heads": 2}}, SelfAttention(8, 2, batch_first=True), (2, 5, 8)),
    "attention-causal": (
        {"attention": {"size": 8, "heads": 4, "causal": True, "bias": False}},
        with_mask(SelfAttention(8, 4, bias=False, batch_first=True), causal(5)), (2, 5, 8)),
    "attention-window": (
        {"attention": {"size": 8, "heads": 2, "window": 1}},
        with_mask(SelfAttention(8, 2, batch_first=True), window(5, 1, False)), (2, 5, 8)),
    "attention-causal-window": (
        {"attention": {"size": 8, "heads": 2, "causal": True, "window": 2}},
        with_mask(SelfAttention(8, 2, batch_first=True), window(6, 2, True)), (2, 6, 8)),
    "encoder-post": ({"transformerEncoder": e}, Encoder(**E), (2, 5, 8)),
    "encoder-pre-gelu-causal": (
        {"transformerEncoder": {**e, "norm": "Pre", "activation": "gelu", "causal": True}},
        with_mask(Encoder(**E, norm_first=True, activation="gelu"), causal(5)), (2, 5, 8)),
    "encoder-first": (
        {"transformerEncoder": {**e, "first": 3}}, with_mask(Encoder(**E), None, first=3), (2, 5, 8)),
    "decoder-memory-post": (
        {"transformerDecoder": {**e, "memory": 3}}, with_mask(Decoder(**E), None, memory=3), (2, 7, 8)),
    "decoder-memory-pre": (
        {"transformerDecoder": {**e, "memory": 2, "norm": "Pre", "activation": "gelu"}},
        with_mask(Decoder(**E, norm_first=True, activation="gelu"), None, memory=2), (2, 7, 8)),
    "decoder-only-pre": (
        {"transformerDecoder": {**e, "norm": "Pre", "activation": "gelu"}},
        with_mask(Encoder(**E, norm_first=True, activation="gelu"), causal(5)), (2, 5, 8)),
}


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)
    tensors, operations = {}, {}
    for name, (operation, module, x) in CASES.items():
        operations[name] = operation
        module.train()
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(torch.randn_like(p) / 2)
            if name == "embedding":
                module.weight[module.padding_idx] = 0
        is_tokens = torch.is_tensor(x)
        x = x if is_tokens else torch.randn(x, requires_grad=True)
        for key, value in module.state_dict().items():
            tensors[f"{name}/p/{key}"] = value.clone()
        y = module(x)
        g = torch.randn_like(y)
        y.backward(g)
        tensors |= {f"{name}/x": x.detach(), f"{name}/y": y.detach(), f"{name}/g": g}
        if not is_tokens:
            tensors[f"{name}/dx"] = x.grad
        for key, p in module.named_parameters():
            tensors[f"{name}/d/{key}"] = p.grad
        for key, value in module.named_buffers():
            tensors[f"{name}/after/{key}"] = value.clone()
        module.eval()
        with torch.no_grad():
            tensors[f"{name}/eval"] = module(x.detach())
    tensors = {key: value.contiguous().clone() for key, value in tensors.items()}
    save_file(tensors, OUT, {"torch": torch.__version__, "operations": json.dumps(operations)})
    print(OUT, OUT.stat().st_size, "bytes,", len(CASES), "cases")


if __name__ == "__main__":
    main()

"""A small network in real PyTorch, beside the same MixNNModel.

  pytorch.py train WEIGHTS INPUTS OUT   makes weights by training a few steps and saves them; then the same
  pytorch.py logits WEIGHTS INPUTS OUT  loads weights (every tensor, strictly), writes the logits of INPUTS as JSON
"""
import json
import sys

import torch
from safetensors.torch import load_file, save_file
from torch import nn


class Layers(nn.Sequential):
    """Named as MixNN names: the layer, then the operation's number."""


def model():
    torch.manual_seed(0)
    net = nn.Module()
    net.conv = Layers(nn.Conv2d(1, 4, 5, padding=2), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(4))
    net.hidden = Layers(nn.Flatten(), nn.Linear(196, 32), nn.Tanh())
    net.last = Layers(nn.Linear(32, 10))
    net.forward = lambda x: net.last(net.hidden(net.conv(x)))
    return net


def train(weights, inputs, out):
    net = model()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(5):
        x, y = torch.randn(16, 1, 28, 28), torch.randint(10, (16,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(net.forward(x), y).backward()
        optimizer.step()
    save_file(net.state_dict(), weights)
    logits(weights, inputs, out)


def logits(weights, inputs, out):
    net = model()
    net.load_state_dict(load_file(weights), strict=True)
    net.eval()
    with open(inputs) as file:
        tensor = json.load(file)["inputs"][0]
    x = torch.tensor(tensor["data"], dtype=torch.float32).reshape(tensor["shape"])
    with torch.no_grad(), open(out, "w") as file:
        json.dump(net.forward(x).flatten().tolist(), file)


{"train": train, "logits": logits}[sys.argv[1]](*sys.argv[2:])

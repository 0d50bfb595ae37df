"""Programs of torch.export, and what they compute: export.py INPUTS FOLDER.

Makes FOLDER/NAME/secret-name.pt2 and FOLDER/NAME/logits.json, the logits of INPUTS, for each NAME.
"""
import json
import sys
from pathlib import Path

import torch
from torch import nn


class LeNet5(nn.Module):
    """As LeCun has it, in the words that most write it by: modules, functions, views."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = nn.functional.max_pool2d(torch.relu(self.conv2(x)), (2, 2))
        x = x.view(x.size(0), -1)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x)))))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
        self.down = None
        if inputs != outputs:
            self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(nn.functional.relu(self.bn1(self.conv1(x)))))
        y += x if self.down is None else self.down(x)
        return nn.functional.relu(y)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(Block(8, 8, 1), Block(8, 16, 2))
        self.pool, self.drop, self.head = nn.AdaptiveAvgPool2d(1), nn.Dropout(0.2), nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.drop(torch.flatten(self.pool(self.blocks(self.stem(x))), 1)))


class Sequence(nn.Module):
    """Rows of a picture as positions: layer norm, permute, mean."""

    def __init__(self):
        super().__init__()
        self.up, self.norm, self.act = nn.Linear(28, 24), nn.LayerNorm(24), nn.GELU()
        self.mix, self.head = nn.Conv1d(24, 12, 3, stride=2, padding=1, groups=2), nn.Linear(12, 10, bias=False)

    def forward(self, x):
        x = self.act(self.norm(self.up(x.squeeze(1))))
        return self.head(self.mix(x.transpose(1, 2)).mean(2))


class Strange(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(784, 10)

    def forward(self, x):
        return torch.cumsum(self.inner(x.flatten(1)), 1)


inputs, folder = sys.argv[1], Path(sys.argv[2])
with open(inputs) as file:
    tensor = json.load(file)["inputs"][0]
x = torch.tensor(tensor["data"], dtype=torch.float32).reshape(tensor["shape"])
torch.manual_seed(0)
for name, net in {"lenet": LeNet5(), "residual": Residual(), "sequence": Sequence(), "strange": Strange()}.items():
    # Statistics that are not those of a model that never learned.
    net.train()
    for _ in range(3):
        net(torch.randn(16, 1, 28, 28))
    net.eval()
    (folder / name).mkdir()
    batch = {"x": {0: torch.export.Dim("batch", min=2)}} if name != "sequence" else None
    program = torch.export.export(net, (x,), dynamic_shapes=batch)
    torch.export.save(program, folder / name / "secret-name.pt2")
    with torch.no_grad():
        (folder / name / "logits.json").write_text(json.dumps(net(x).flatten().tolist()))

"""LeNet-5 by torch.distributed.pipelining: five stages, each a process, in plain text over gloo on this machine.

The peer that `mixnn-bench --peer` times beside training over relays. Prints JSON: milliseconds a step (median) over
stages, in the fastest way (GPipe or 1F1B, of so many parts of a batch), and in one process in its fastest way.

    scripts/pytorch.sh bench/peer/pipelining.py --batch 64 --micro-batches 1 4 8 --steps 100
"""

import argparse
import json
import os
import socket
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe

SCHEDULES = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}
WARM_UP = 5


def stages():
    """The layers of LeNet-5 as bench/src/models.rs has them."""
    torch.manual_seed(1)
    return [
        nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        nn.Sequential(nn.Flatten(), nn.Linear(400, 120), nn.ReLU()),
        nn.Sequential(nn.Linear(120, 84), nn.ReLU()),
        nn.Sequential(nn.Linear(84, 10)),
    ]


def optimizer(module):
    return torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)


def batch(args):
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(args.batch, 1, 28, 28, generator=generator)
    return images, torch.randint(10, (args.batch,), generator=generator)


def median_ms(step, steps):
    times = []
    for number in range(WARM_UP + steps):
        start = time.perf_counter()
        step()
        if number >= WARM_UP:
            times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def stage(rank, args, way, port, out):
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    modules = stages()
    last = len(modules) - 1
    dist.init_process_group("gloo", rank=rank, world_size=len(modules))
    module = modules[rank]
    part = PipelineStage(module, rank, len(modules), torch.device("cpu"))
    # Losses of micro-batches are means; the schedule divides gradients by their number.
    name, parts = way
    schedule = SCHEDULES[name](part, parts, loss_fn=nn.functional.cross_entropy)
    update = optimizer(module)
    images, labels = batch(args)

    def step():
        update.zero_grad()
        if rank == 0:
            schedule.step(images)
        elif rank == last:
            schedule.step(target=labels, losses=[])
        else:
            schedule.step()
        update.step()

    ms = median_ms(step, args.steps)
    # The first stage ends a step last: gradients come back to it.
    if rank == 0:
        out.put(ms)
    dist.barrier()
    dist.destroy_process_group()


def ways(args):
    every = [(name, parts) for name in args.schedules for parts in args.micro_batches]
    # 1F1B refuses fewer parts than stages.
    return [(name, parts) for name, parts in every if name == "gpipe" or parts >= len(stages())]


def over_stages(args, way):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out = mp.get_context("spawn").SimpleQueue()
    mp.spawn(stage, (args, way, port, out), nprocs=len(stages()))
    return out.get()


def one_process(args, threads):
    torch.set_num_threads(threads)
    model = nn.Sequential(*stages())
    update = optimizer(model)
    images, labels = batch(args)

    def step():
        update.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        update.step()

    return median_ms(step, args.steps)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--batch", type=int, default=64, help="samples a step")
    arguments.add_argument("--micro-batches", type=int, nargs="+", default=[1, 4, 8], help="parts of a batch to try")
    arguments.add_argument("--schedules", nargs="+", default=list(SCHEDULES), choices=SCHEDULES, help="to try")
    arguments.add_argument("--steps", type=int, default=100, help="steps that are timed")
    args = arguments.parse_args()
    over, way = min((over_stages(args, way), way) for way in ways(args))
    alone = min(one_process(args, threads) for threads in {1, os.cpu_count() or 1})
    print(json.dumps({"overStagesMs": over, "schedule": way[0], "microBatches": way[1], "oneProcessMs": alone}))


if __name__ == "__main__":
    main()

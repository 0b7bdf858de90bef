#!/bin/sh
# Run a Python program of this folder with an interpreter that pyproject.toml admits:
#   sh book/python.sh book/environment.py
# PYTHON=... names the interpreter; else the environment's own, else the first suitable one on the PATH.
set -u

admits='
import re, sys
text = open("pyproject.toml", encoding="utf-8").read()
low, high = re.search(r"requires-python = .>=3\.(\d+),<3\.(\d+)", text).groups()
print("%d.%d.%d, and this needs 3.%s to 3.%d" % (sys.version_info[:3] + (low, int(high) - 1)))
sys.exit(0 if sys.version_info[0] == 3 and int(low) <= sys.version_info[1] < int(high) else 1)'

unset PYTHONHOME PYTHONPATH PYTHONSTARTUP PYTHONWARNINGS PYTHONWARNDEFAULTENCODING
PYTHONUTF8=1
export PYTHONUTF8

if [ -n "${PYTHON:-}" ]; then
    candidates=$PYTHON
elif [ -f .venv/made.json ] && .venv/bin/python -c "$admits" >/dev/null 2>&1; then
    exec .venv/bin/python "$@"
else
    candidates='python3.11
python3.12
python3.13
python3
python'
fi

seen=
bare=
# One candidate a line, so that a path may hold spaces.
IFS='
'
for python in $candidates; do
    if said=$("$python" -c "$admits" 2>/dev/null); then
        if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
            exec "$python" "$@"
        fi
        bare=${bare:-$python}
    elif [ -n "$said" ]; then
        seen=${seen:-"$python is $said"}
    fi
done

if [ -n "$bare" ]; then
    echo "$bare cannot make environments: install its venv module (Debian and Ubuntu: apt install $(basename "$bare")-venv), then run make again." >&2
elif [ -n "$seen" ]; then
    echo "No suitable Python: $seen. Install one, or name it: make PYTHON=/path/to/python." >&2
elif [ -n "${PYTHON:-}" ]; then
    echo "PYTHON=$PYTHON does not run. Name a Python, as in: make PYTHON=/path/to/python." >&2
else
    echo "No Python found. Install Python 3.11, or name one: make PYTHON=/path/to/python." >&2
fi
exit 1

"""Live figures: a torch function, compiled to the JavaScript of a page.

`compile` needs torch only; nothing here imports a widget library.
"""

from .compile import Compiled, compile
from .trace import CompileError

__all__ = ["CompileError", "Compiled", "compile"]

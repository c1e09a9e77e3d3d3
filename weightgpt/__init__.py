"""weightgpt: shapes become neural fields, fields become tokens, a GPT-2 learns the tokens and writes new shapes.

The public names are those of the stub file next to this one. A name loads its module when it is first used, so that
`import weightgpt` and `weightgpt --help` do not wait for torch.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

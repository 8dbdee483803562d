"""The specification, runnable. README.md says what each folder holds."""

import sys
from pathlib import Path

# A helper that fails shows what it compared, as a test does. Programs of tests run without pytest.
if "pytest" in sys.modules:
    folders = [path.name for path in Path(__file__).parent.iterdir() if path.is_dir()]
    sys.modules["pytest"].register_assert_rewrite(*(f"{__name__}.{name}" for name in folders))

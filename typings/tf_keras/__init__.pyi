# Any, for the reasons given beside keras.
from typing import Any

def __getattr__(name: str) -> Any: ...

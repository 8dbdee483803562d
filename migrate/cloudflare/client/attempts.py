"""The error of an attempt that another attempt may mend."""


class RetryableError(Exception):
    """Another attempt may succeed. Never leaves the client."""

    def __init__(
        self,
        reason: str,
        *,
        after_s: float | None = None,
        blocked: bool = False,
        foreign: bool = False,
    ) -> None:
        super().__init__(reason)
        self.after_s = after_s  # what the service asks for, in seconds
        self.blocked = blocked  # the request budget does the waiting
        self.foreign = foreign  # what answered is not the service

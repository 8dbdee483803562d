"""The settings of all commands: declared in `sections`, found and checked by `loading`."""

from q2v.settings.loading import BY_KEY as BY_KEY
from q2v.settings.loading import SETTINGS as SETTINGS
from q2v.settings.loading import Setting as Setting
from q2v.settings.sections import Settings as Settings

"""The settings of all commands: declared in `sections`, found and checked by `loading`."""

from q2v.settings.loading import BY_KEY as BY_KEY
from q2v.settings.loading import SETTINGS as SETTINGS
from q2v.settings.loading import Setting as Setting
from q2v.settings.loading import check_required as check_required
from q2v.settings.loading import taken_by as taken_by
from q2v.settings.loading import takes as takes
from q2v.settings.sections import SECTIONS as SECTIONS
from q2v.settings.sections import Settings as Settings

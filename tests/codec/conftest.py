"""Property tests here take the time that a busy machine takes: what they prove has nothing to do with speed."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

"""The parts of ani_teacher.py: its settings, the two data sets, the fits and the table."""

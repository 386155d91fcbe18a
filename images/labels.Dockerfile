# Adds nothing but the labels the set-up passes: what prepare.py found inside is known only after it ran.
ARG BASE
FROM ${BASE}

# shellcheck shell=bash
needs_root13() { false; }

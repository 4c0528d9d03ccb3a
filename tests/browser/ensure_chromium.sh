#!/bin/sh
# Find a Chromium for the browser tests, or install Debian's.
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null 2>&1; then
        echo "browser tests use $(command -v "$name")"
        exit 0
    fi
done
if command -v apt-get >/dev/null 2>&1; then
    if [ "$(id -u)" = 0 ]; then as_root=""; else as_root="sudo -n"; fi
    echo "no Chromium found, installing Debian's"
    if $as_root apt-get update -qq && $as_root apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null; then
        exit 0
    fi
fi
echo "no Chromium found and none could be installed here: the browser tests will be skipped (in CI they fail)." >&2
echo "Install one, for example with your system's package manager, and run make test again." >&2

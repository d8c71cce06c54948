#!/bin/sh
# Puts Chromium on the machine for the tests that look at pages, where that can be done; else those tests say they were skipped.
command -v chromium >/dev/null 2>&1 || command -v chromium-browser >/dev/null 2>&1 || command -v google-chrome >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -qq >/dev/null 2>&1 && apt-get install -y -qq chromium >/dev/null 2>&1 && exit 0
fi
echo "note: no Chromium found; browser tests will be skipped. Install it, e.g. 'sudo apt-get install chromium'." >&2
exit 0

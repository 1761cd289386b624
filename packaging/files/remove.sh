# Before the files are removed, not at an upgrade.
if [ -d /run/systemd/system ]; then
    systemctl disable --now gateway.service || true
fi

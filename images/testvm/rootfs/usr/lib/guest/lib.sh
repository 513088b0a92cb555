# Sourced by the scripts of the guest.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin

uptime_s() { cut -d' ' -f1 /proc/uptime; }

# say EVENT [JSON MEMBERS]: one machine-readable line on the console. It starts with a line break because a login prompt may
# stand there.
say() { printf '\n@guest {"event":"%s","uptime":%s%s}\n' "$1" "$(uptime_s)" "${2:+,$2}" > /dev/console; }

# What comes from outside and ends up in a line, a file name or the host name.
plain() { printf '%s' "$1" | tr -cd 'A-Za-z0-9._:/-'; }

set_hostname() {
    name=$(plain "$1" | tr -d ':/')
    [ -n "$name" ] || return 0
    hostname "$name"
    echo "$name" > /etc/hostname
    printf '127.0.0.1 localhost\n127.0.1.1 %s %s\n' "$name" "${name%%.*}" > /etc/hosts
}

add_key() {
    mkdir -p /root/.ssh
    chmod 700 /root/.ssh
    grep -qxF "$1" /root/.ssh/authorized_keys 2>/dev/null || printf '%s\n' "$1" >> /root/.ssh/authorized_keys
    chmod 600 /root/.ssh/authorized_keys
}

#!/bin/bash
# OpenStack's identity service as Debian packages it, under uWSGI with the package's own settings, on MariaDB: the peer of benches/identity.py.
# All on loopback, in a directory of its own; nothing of the machine's own services is touched.
#
#   apt-get install --no-install-recommends python3-keystone python3-pymysql uwsgi-core uwsgi-plugin-python3 mariadb-server wrk
#   benches/openstack-keystone.sh start DIR PORT PROJECTS     # prints "ready" when it answers; the administrator is admin / Wolke@sysadmin1
#   benches/openstack-keystone.sh stop DIR
set -euo pipefail

word=${1:?start or stop}
dir=$(realpath -m "${2:?a directory}")

gone() { # waits until a process has ended
    for _ in $(seq 600); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done
    return 1
}

if [ "$word" = stop ]; then
    for each in uwsgi mariadb; do
        if [ -f "$dir/$each.pid" ]; then
            pid=$(cat "$dir/$each.pid")
            kill -TERM "$pid" 2>/dev/null || true
            gone "$pid" || echo "$each ($pid) does not end" >&2
        fi
    done
    exit 0
fi

port=${3:?a port}
projects=${4:-10000}
for need in keystone-manage keystone-wsgi-public uwsgi mariadbd mariadb-install-db; do
    command -v "$need" >/dev/null || { echo "$need is missing: see the head of this file" >&2; exit 1; }
done
mkdir -p "$dir"
conf=$dir/keystone.conf

mariadb-install-db --user="$(id -un)" --datadir="$dir/db" --auth-root-authentication-method=normal --skip-test-db >"$dir/install.log" 2>&1
mariadbd --no-defaults --user="$(id -un)" --datadir="$dir/db" --socket="$dir/sql.sock" --pid-file="$dir/mariadb.pid" --skip-networking \
    --innodb-buffer-pool-size=512M >"$dir/mariadb.log" 2>&1 &
sql() { mariadb --no-defaults --socket="$dir/sql.sock" --user=root "$@"; }
for _ in $(seq 600); do sql -e 'select 1' >/dev/null 2>&1 && break; sleep 0.1; done
sql -e 'create database keystone character set utf8mb4'

cat >"$conf" <<END
[DEFAULT]
log_dir = $dir
log_file = keystone.log
[database]
connection = mysql+pymysql://root@localhost/keystone?unix_socket=$dir/sql.sock
[token]
provider = fernet
[fernet_tokens]
key_repository = $dir/fernet
[fernet_receipts]
key_repository = $dir/fernet
[credential]
key_repository = $dir/credential
END
mkdir -p "$dir/fernet" "$dir/credential"
chmod 700 "$dir/fernet" "$dir/credential"
who=(--keystone-user "$(id -un)" --keystone-group "$(id -gn)")
manage() { keystone-manage --config-file "$conf" "$@" >>"$dir/manage.log" 2>&1; }
manage db_sync
manage fernet_setup "${who[@]}"
manage credential_setup "${who[@]}"
url=http://127.0.0.1:$port/v3
manage bootstrap --bootstrap-password 'Wolke@sysadmin1' --bootstrap-public-url "$url" --bootstrap-internal-url "$url" \
    --bootstrap-admin-url "$url" --bootstrap-region-id region0

# Projects by the thousand straight into the table: making them one by one over the API is not what is measured.
sql keystone -e "insert into project (id, name, description, enabled, domain_id, parent_id, is_domain, extra)
    select lower(md5(seq)), concat('project-', seq), '', 1, 'default', 'default', 0, '{}' from seq_1_to_$projects; analyze table project" >/dev/null

# What /etc/keystone/keystone-uwsgi.ini of the package says, with its rule for the number of processes: twice the processors.
cat >"$dir/uwsgi.ini" <<END
[uwsgi]
buffer-size = 65535
rem-header = Content-Length
master = true
thunder-lock = true
plugins = python3
lazy-apps = true
no-orphans = true
die-on-term = true
enable-threads = true
processes = $(($(nproc) * 2))
threads = 32
listen = 100
disable-logging = true
name = keystone-api
chdir = $dir
wsgi-file = /usr/bin/keystone-wsgi-public
pyargv = --config-file $conf
http-socket = 127.0.0.1:$port
pidfile = $dir/uwsgi.pid
END
uwsgi --ini "$dir/uwsgi.ini" >"$dir/uwsgi.log" 2>&1 &
for _ in $(seq 1200); do
    if wget -q -O /dev/null "$url" 2>/dev/null; then echo ready; exit 0; fi
    sleep 0.1
done
echo "the service does not answer: see $dir/uwsgi.log" >&2
exit 1

# The part of cloud-config that platforms write, as one order a line:
#   hostname NAME | key KEY | password USER:PASSWORD | hash USER:HASH | run COMMAND
# Block style only; this guest has no user but root, so other users' entries are dropped.
function scalar(s) {
    sub(/^[ \t]+/, "", s); sub(/[ \t\r]+$/, "", s)
    if (s ~ /^".*"$/ || s ~ /^'.*'$/) s = substr(s, 2, length(s) - 2)
    return s
}
function credential(user, secret) { if (user == "root" && secret != "") print (secret ~ /^\$[0-9a-z]+\$/ ? "hash " : "password ") user ":" secret }
/^[ \t]*#/ || /^[ \t\r]*$/ { next }
{
    line = $0
    sub(/\r$/, "", line)
    if (line ~ /^[A-Za-z_-]+:/) {                       # a key of the top level opens a section
        section = line; sub(/:.*/, "", section); gsub(/-/, "_", section)
        rest = scalar(substr(line, index(line, ":") + 1))
        user = "root"
        if (section == "hostname" || section == "fqdn") print "hostname " rest
        else if (section == "password") credential("root", rest)
        next
    }
    item = line ~ /^[ \t]*- /
    sub(/^[ \t]*/, "", line); sub(/^- */, "", line)
    if (section == "runcmd") { if (item) print "run " scalar(line); next }
    if (scalar(line) ~ /^(ssh|ecdsa|sk-ssh|sk-ecdsa)-/) { if (user == "root") print "key " scalar(line); next }
    if (section == "chpasswd" && line ~ /^[a-z][a-z0-9_-]*:[^ ]/) { credential(substr(line, 1, index(line, ":") - 1), scalar(substr(line, index(line, ":") + 1))); next }
    if (match(line, /^[A-Za-z_-]+:/)) {
        key = substr(line, 1, RLENGTH - 1); gsub(/-/, "_", key)
        rest = scalar(substr(line, RLENGTH + 1))
        if (key == "name") user = rest
        else if (key == "password" || key == "plain_text_passwd" || key == "hashed_passwd" || key == "passwd") credential(user, rest)
    }
}

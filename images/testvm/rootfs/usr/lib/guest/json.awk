# JSON to lines of PATH<TAB>VALUE: {"a":{"b":"c"},"l":["x"]} gives .a.b<TAB>c and .l.0<TAB>x. Line breaks in strings become spaces.
# Exits with 1 on what is not JSON.
{ text = text $0 "\n" }

function fail() { bad = 1; exit 1 }
function skip() { while (at <= len && index(" \t\r\n,:", substr(text, at, 1))) at++ }
function string(    out, c) {
    at++
    out = ""
    while (1) {
        if (at > len) fail()
        c = substr(text, at, 1)
        if (c == "\"") { at++; return out }
        if (c == "\\") {
            at++
            c = substr(text, at, 1)
            if (c == "n" || c == "t" || c == "r") c = " "
            else if (c == "u") { c = "?"; at += 4 }
        }
        if (c == "\n") c = " "
        out = out c
        at++
    }
}
function value(path, depth,    c, key, n, start) {
    if (depth > 20) fail()
    skip()
    c = substr(text, at, 1)
    if (c == "\"") { print path "\t" string(); return }
    if (c == "{" || c == "[") {
        at++
        for (n = 0; ; n++) {
            skip()
            if (at > len) fail()
            if (index("}]", substr(text, at, 1))) { at++; return }
            if (c == "{") {
                if (substr(text, at, 1) != "\"") fail()
                key = string()
                gsub(/[^A-Za-z0-9_-]/, "_", key)
                value(path "." key, depth + 1)
            } else value(path "." n, depth + 1)
        }
    }
    start = at
    while (at <= len && !index(" \t\r\n,:]}", substr(text, at, 1))) at++
    if (at == start) fail()
    print path "\t" substr(text, start, at - start)
}
END { if (bad) exit 1; len = length(text); at = 1; value("", 0) }

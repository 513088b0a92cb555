#!/usr/bin/env python3
"""Wolke's identity service beside OpenStack's, in one run on one machine.

    cargo build --profile bench -p wolke
    benches/openstack-keystone.sh start /var/tmp/peer 35357 10000
    benches/identity.py --wolke target/release/wolke --peer /var/tmp/peer --peer-port 35357
    benches/openstack-keystone.sh stop /var/tmp/peer

The two take turns, so that whatever else the machine does, it does to both. What a request costs is read from the accounts of the processes (user and
system, the database's included), what it takes from wrk. Medians of the rounds. Nothing is asserted: a benchmark is no test."""

import argparse, glob, http.client, json, os, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

PASSWORD = "Wolke@sysadmin1"
PAGE = os.sysconf("SC_PAGE_SIZE")


def children(pid):
    """A process and all below it."""
    found, todo = [], [pid]
    while todo:
        each = todo.pop()
        found.append(each)
        for task in glob.glob(f"/proc/{each}/task/*/children"):
            try:
                todo += [int(c) for c in open(task).read().split()]
            except OSError:
                pass
    return found


class Refused(Exception):
    pass


class Side:
    def __init__(self, name, base, pids, user):
        self.name, self.base, self.pids, self.user = name, base, pids, user
        self.port = int(re.search(r":(\d+)", base).group(1))
        self.path = base[base.index("/", 8):]
        self.threads = {}

    def processor(self):
        """Seconds on the processor of every thread so far; of those that ended what was last seen. By the scheduler's own clock (Documentation/scheduler/sched-stats)."""
        for pid in {p for root in self.pids for p in children(root)}:
            for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
                try:
                    self.threads[path] = int(open(path).read().split()[0])
                except (OSError, IndexError):
                    pass
        return sum(self.threads.values()) / 1e9

    def memory(self):
        """Resident MiB: proportional, so that what processes share counts once."""
        total = 0
        for pid in {p for root in self.pids for p in children(root)}:
            try:
                total += int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M).group(1))
            except OSError:
                pass
        return total / 1024

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, self.path + path, json.dumps(body) if body else None, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer, answer.read()

    def login(self):
        return {"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": self.user, "domain": {"id": "default"}, "password": PASSWORD}}},
                         "scope": {"project": {"name": "admin" if self.user == "admin" else "system", "domain": {"id": "default"}}}}}

    def token(self):
        answer, text = self.ask("POST", "/auth/tokens", self.login())
        assert answer.status in (200, 201), (self.name, answer.status, text)
        return answer.getheader("X-Subject-Token")

    def wrk(self, method, path, headers, body, connections, seconds, tmp):
        script = os.path.join(tmp, "request.lua")
        with open(script, "w") as f:
            f.write(f'wrk.method = "{method}"\n')
            for key, value in headers.items():
                f.write(f'wrk.headers["{key}"] = "{value}"\n')
            if body:
                f.write(f"wrk.body = [==[{json.dumps(body)}]==]\n")
        before, start = self.processor(), time.time()
        out = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "120s", "--latency", "-s", script, f"http://127.0.0.1:{self.port}{self.path}{path}"],
                             capture_output=True, text=True, check=True).stdout
        took, used = time.time() - start, self.processor() - before
        if "Non-2xx" in out:
            raise Refused(f"{self.name} {path}: {out}")
        count = int(re.search(r"(\d+) requests in", out).group(1))
        amount, unit = re.search(r"50%\s+([\d.]+)(us|ms|s|m)\b", out).groups()
        p50 = float(amount) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60000}[unit]
        return {"rate": count / took, "p50": p50, "cpu": used / max(count, 1) * 1000, "count": count}


    def warm(self, tmp):
        """Load until nothing is refused: threads of an OpenStack worker that meet its policies while these are still being read are told 403."""
        for last in (False, False, False, False, True):
            token = self.token()
            try:
                return self.wrk("GET", "/auth/tokens", {"X-Auth-Token": token, "X-Subject-Token": token}, None, 8, 2, tmp)
            except Refused:
                if last:
                    raise

    def slowly(self, method, path, headers, count=2):
        """The same for what takes longer than a round: one request after another."""
        before, start, each = self.processor(), time.time(), []
        for _ in range(count):
            at = time.time()
            answer, text = self.ask(method, path, None, headers)
            assert answer.status == 200, (self.name, answer.status, text[:300])
            each.append(time.time() - at)
        took, used = time.time() - start, self.processor() - before
        return {"rate": count / took, "p50": statistics.median(each) * 1000, "cpu": used / count * 1000, "count": count}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def start_wolke(program, tmp, projects):
    port, data = free_port(), os.path.join(tmp, "wolke")
    config = os.path.join(tmp, "wolke.toml")
    url = f"http://127.0.0.1:{port}/v3"
    with open(config, "w") as f:
        f.write(f"secret_key = '{'5a' * 32}'\n[keystone]\nbootstrap_admin_user_password = '{PASSWORD}'\nlogin_failures_per_second = 0.0\ndefault_quota = -1\n")
        f.write(f"[[keystone.services]]\nname = 'keystone'\ntype = 'identity'\npublic_url = '{url}'\n")
    log = open(os.path.join(tmp, "wolke.log"), "w")
    process = subprocess.Popen([program, "keystone", "--config", config, "--data", data, "--listen", f"127.0.0.1:{port}"], stdout=log, stderr=log)
    side = Side("wolke", url, [process.pid], "sysadmin")
    for _ in range(600):
        try:
            token = side.token()
            break
        except (OSError, AssertionError, http.client.HTTPException):
            if process.poll() is not None:
                sys.exit(open(log.name).read())
            time.sleep(0.1)
    headers = {"X-Auth-Token": token}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for n in range(projects):
        body = json.dumps({"project": {"name": f"project-{n}", "domain_id": "default"}})
        connection.request("POST", "/v3/projects", body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"project {n}: {answer.status} {text}")
    return process, side


def issue_and_hash(words, wolke, tmp):
    """Processor time of an issued token against that of the hash it compares, in turn: the same machine is a tenth faster a minute later."""
    hashes, tokens = [], []
    issue = lambda seconds: wolke.wrk("POST", "/auth/tokens", {"Content-Type": "application/json"}, wolke.login(), 1, seconds, tmp)
    for _ in range(8):
        out = subprocess.run([words.hash, "password"], capture_output=True, text=True, check=True).stdout
        hashes.append(int(re.search(r"\((\d+) ns each\)", out).group(1)) / 1e6)
        tokens.append(issue(words.seconds)["cpu"])
    one, other = statistics.median(tokens), statistics.median(hashes)
    print(f"\nprocessor time of an issued token {one:.2f} ms, of the hash by itself {other:.2f} ms: {one / other:.2f} "
          f"(each in turn: {', '.join(f'{t / h:.2f}' for t, h in zip(tokens, hashes))})")
    if not shutil.which("perf"):
        return
    # Samples do not mind a machine that is slower for a moment: how much of either is the hash's own code. What it calls is in both alike.
    bare = subprocess.Popen(["perf", "record", "-q", "-F", "997", "-o", f"{tmp}/bare", words.hash, "password"], stdout=subprocess.DEVNULL)
    bare.wait()
    within = subprocess.Popen(["perf", "record", "-q", "-F", "997", "-o", f"{tmp}/within", "-p", str(wolke.pids[0]), "--", "sleep", "10"])
    issue(11)
    within.wait()
    bare, within = share(f"{tmp}/bare"), share(f"{tmp}/within")
    print(f"samples in the hash's own code: {bare:.1%} of a bare loop, {within:.1%} of the service that issues tokens: {bare / within:.2f}")


def share(samples):
    out = subprocess.run(["perf", "report", "-i", samples, "--stdio", "--no-children", "-g", "none", "--sort", "sym"], capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^\s+([\d.]+)%\s+(.*)$", out, re.M)
    return sum(float(part) for part, name in lines if "argon2" in name) / sum(float(part) for part, _ in lines)


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--wolke", required=True)
    words.add_argument("--peer", required=True, help="directory of openstack-keystone.sh")
    words.add_argument("--peer-port", type=int, required=True)
    words.add_argument("--projects", type=int, default=10000)
    words.add_argument("--seconds", type=int, default=5)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--hash", help="program of `cargo bench -p auth --bench token --no-run`: issued tokens against the bare hash")
    words.add_argument("--only", default="", help="loads whose name has this in it")
    words = words.parse_args()
    tmp = tempfile.mkdtemp(prefix="identity-bench")
    pid = lambda name: int(open(os.path.join(words.peer, name + ".pid")).read())
    peer = Side("openstack", f"http://127.0.0.1:{words.peer_port}/v3", [pid("uwsgi"), pid("mariadb")], "admin")
    process, wolke = start_wolke(words.wolke, tmp, words.projects)
    try:
        print(f"load of the machine at the start: {os.getloadavg()[0]:.1f}; {words.rounds} rounds of {words.seconds} s, each side in turn\n")
        print("| what | connections | Wolke /s | OpenStack /s | Wolke p50 ms | OpenStack p50 ms | Wolke processor ms | OpenStack processor ms | ratio of rates | ratio of processor time |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        sides = [wolke, peer]
        for side in sides:
            side.warm(tmp)
        memory = {s.name: [s.memory()] for s in sides}
        loads = [
            ("issue a token", 1, "POST", "/auth/tokens", lambda s, t: {"Content-Type": "application/json"}, True),
            ("validate a token", 1, "GET", "/auth/tokens", lambda s, t: {"X-Auth-Token": t, "X-Subject-Token": t}, False),
            ("validate a token", 8, "GET", "/auth/tokens", lambda s, t: {"X-Auth-Token": t, "X-Subject-Token": t}, False),
            ("list of projects", 1, "GET", "/projects?%s", lambda s, t: {"X-Auth-Token": t}, False),
        ]
        for what, connections, method, path, headers, login in [load for load in loads if words.only in load[0]]:
            # Existing clients of Wolke ask for pages and get 20 rows with their total, or up to 2048; OpenStack's service has no pages.
            pages = ["limit=20&scope=system", "limit=2048&scope=system"] if "%s" in path else [""]
            for page in pages:
                rounds = {s.name: [] for s in sides}
                for _ in range(words.rounds):
                    for side in sides:
                        token = side.token()
                        target = path % (page if side is wolke else "") if "%s" in path else path
                        if page and side is peer:
                            rounds[side.name].append(side.slowly(method, target, headers(side, token)))
                            continue
                        rounds[side.name].append(side.wrk(method, target, headers(side, token), side.login() if login else None, connections, words.seconds, tmp))
                mid = {n: {k: statistics.median(r[k] for r in all) for k in ("rate", "p50", "cpu")} for n, all in rounds.items()}
                w, o = mid["wolke"], mid["openstack"]
                label = what + (f", {page.split('&')[0]} of {words.projects}; OpenStack all" if page else "")
                print(f"| {label} | {connections} | {w['rate']:.1f} | {o['rate']:.2f} | {w['p50']:.2f} | {o['p50']:.1f} | {w['cpu']:.3f} | {o['cpu']:.1f} | {w['rate'] / o['rate']:.0f} | {o['cpu'] / w['cpu']:.0f} |", flush=True)
        for side in sides:
            memory[side.name].append(side.memory())
        if words.hash:
            issue_and_hash(words, wolke, tmp)
        print("\n| resident memory, MiB (database process included) | before | after all loads |\n|---|---|---|")
        for name, (before, after) in memory.items():
            print(f"| {name} | {before:.0f} | {after:.0f} |")
        print(f"\nload of the machine at the end: {os.getloadavg()[0]:.1f}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        shutil.rmtree(tmp, ignore_errors=True)


main()

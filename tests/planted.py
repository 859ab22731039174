"""Personal data driven through a running server, which is then killed: nothing of it may lie in clear in any file.

1,000 values (mobiles, identity cards, bank cards, passwords, e-mail addresses, names, streets) are said in chats, asked over the
programs' interface, put into ratings, and imported in a document and in FAQs. Then the server is killed in the middle of a
reply, its files, its log and a backup of its database are searched byte by byte, and it must start again and still know what was said.

    KEFU=target/debug/kefu KEFU_MODEL=qwen2.5-coder-0.5b-instruct python3 tests/planted.py
"""

import http.client
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

KEFU = os.environ.get("KEFU", "target/debug/kefu")
MODEL = os.environ.get("KEFU_MODEL", "qwen2.5-coder-0.5b-instruct")
RANDOM = random.Random(20261123)
WANTED = 1000


def digits(count):
    return "".join(RANDOM.choice("0123456789") for _ in range(count))


def id_card():
    body = f"310115{RANDOM.randint(1950, 2004)}{RANDOM.randint(1, 12):02}{RANDOM.randint(1, 28):02}{digits(3)}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(int(d) * w for d, w in zip(body, weights)) % 11]


def bank_card():
    body = "622" + digits(15)
    total = 0
    for place, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str((10 - total % 10) % 10)


def message():
    """A message and the values in it."""
    mobile, card, who = f"1{RANDOM.choice('3456789')}{digits(9)}", bank_card(), id_card()
    mail, secret = f"mail{digits(7)}@example.com", f"Pw{digits(7)}x"
    name = RANDOM.choice(["赵", "钱", "孙", "李", "欧阳"]) + RANDOM.choice("淑建晓雅俊") + RANDOM.choice("琴鹏燕婷辉")
    street = f"长乐路{digits(4)}号"
    kind = RANDOM.randrange(4)
    if kind == 0:
        return f"我叫{name}，手机{mobile}，身份证{who}，卡号{card}，信用卡年费多少钱？", [name, mobile, who, card]
    if kind == 1:
        return f"三年定期利率是多少？联系{mobile}或{mail}，卡{card}，密码是{secret}", [mobile, mail, card, secret]
    if kind == 2:
        return f"收不到验证码怎么办？以前的密码是{secret}，实名{who}，手机号{mobile}，邮箱{mail}", [secret, who, mobile, mail]
    spaced = f"{mobile[:3]} {mobile[3:7]} {mobile[7:]}"
    return f"收件人：{name}，地址：上海市徐汇区{street}，电话{spaced}，证件号{who}，能挂失吗", [name, street, spaced, who]


def documents(folder, planted):
    """A document and a list of FAQs with numbers of persons among what everybody may know."""
    rows = []
    for _ in range(50):
        card, who = bank_card(), id_card()
        planted += [card, who]
        rows.append(f"| 王某 | {who} | {card} | 5000 |")
    text = "# 试点客户额度\n\n咨询电话400-000-8600。\n\n| 姓名 | 身份证 | 卡号 | 额度 |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"
    with open(os.path.join(folder, "pilot.md"), "w") as file:
        file.write(text)
    card = bank_card()
    planted.append(card)
    with open(os.path.join(folder, "faq.jsonl"), "w") as file:
        file.write(json.dumps({"question": "卡号在哪里看？", "answer": f"在卡片正面，例如{card}。"}, ensure_ascii=False) + "\n")


class Server:
    def __init__(self, folder):
        self.folder, self.data = folder, os.path.join(folder, "data")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = None

    def run(self, *words, **more):
        return subprocess.run([KEFU, *words, "--data", self.data], check=True, capture_output=True, text=True, **more)

    def start(self):
        log = open(os.path.join(self.folder, "server.log"), "ab")
        environment = {**os.environ, "KEFU_LOG": "debug,kefu=trace"}
        # What a model gets is looked at in the program's own tests; asking it twice for every message would take minutes.
        config = os.path.join(self.folder, "kefu.toml")
        with open(config, "w") as file:
            file.write("[dialogue]\njudging = false\nsecond_reading = false\n")
        words = [KEFU, "serve", "--config", config, "--data", self.data, "--model", MODEL, "--listen", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(words, stdout=log, stderr=log, env=environment)
        for _ in range(1200):
            if self.process.poll() is not None:
                sys.exit("the server stopped:\n" + open(os.path.join(self.folder, "server.log")).read()[-4000:])
            try:
                if urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2).status == 200:
                    return
            except OSError:
                time.sleep(0.1)
        sys.exit("the server is not ready after two minutes")

    def request(self, method, path, body=None, token=None, wait=True):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        reply = connection.getresponse()
        if not wait:
            return connection, reply
        text = reply.read().decode()
        connection.close()
        if reply.status >= 400:
            sys.exit(f"{method} {path}: {reply.status} {text[:500]}")
        return text


def search(folder, planted, more):
    """Which values stand in which files below the folder, and how many bytes were searched. What the vault encrypted is searched
    like any other file."""
    for name, content in more:
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    paths = [os.path.join(directory, name) for directory, _, names in os.walk(folder) for name in names]
    values = "\n".join(planted).encode()
    words = ["grep", "--text", "--only-matching", "--with-filename", "--fixed-strings", "--file", "-", *paths]
    grep = subprocess.run(words, input=values, capture_output=True, env={**os.environ, "LC_ALL": "C"})
    if grep.returncode > 1:
        sys.exit(grep.stderr.decode())
    return grep.stdout.decode("utf-8", "replace").splitlines(), sum(map(os.path.getsize, paths))


def main():
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        server.run("kb", "import", "kb")
        key = server.run("key", "new", "planted").stdout.strip()
        planted = []
        with tempfile.TemporaryDirectory() as outside:
            documents(outside, planted)
            imported = server.run("kb", "import", outside)
        if "were masked" not in imported.stderr:
            sys.exit(f"the import does not say that it masked anything:\n{imported.stderr}")
        server.start()
        conversations = []
        while len(planted) < WANTED:
            talk = json.loads(server.request("POST", "/api/v1/conversations"))
            conversations.append((talk["id"], talk["visitor_token"]))
            path = f"/api/v1/conversations/{talk['id']}"
            for _ in range(20):
                text, values = message()
                planted += values
                if "event: done" not in server.request("POST", f"{path}/messages", {"text": text}, talk["visitor_token"]):
                    sys.exit(f"no answer to {text}")
            server.request("POST", f"{path}/rating", {"score": 1, "comment": f"打我电话{planted[-1]}"}, talk["visitor_token"])
            text, values = message()
            planted += values
            server.request("POST", "/api/v1/ask", {"question": text}, key)
        more = [("metrics", urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics").read())]
        # Killed while it answers.
        path, token = f"/api/v1/conversations/{conversations[-1][0]}/messages", conversations[-1][1]
        text, values = message()
        planted += values
        killer = threading.Timer(0.02, lambda: server.process.send_signal(signal.SIGKILL))
        killer.start()
        try:
            server.request("POST", path, {"text": text}, token)
        except (OSError, http.client.HTTPException):
            pass
        server.process.wait()
        backup = os.path.join(folder, "backup.sqlite3")
        # What lay in the files when it was killed, before anybody opens the database again.
        found, searched = search(folder, planted, more)
        # The search itself works: what is no personal data is there.
        if not search(folder, ["信用卡年费多少钱", "/api/v1/ask"], [])[0]:
            sys.exit("the search finds nothing at all")
        with sqlite3.connect(os.path.join(server.data, "kefu.sqlite3")) as database, sqlite3.connect(backup) as copy:
            database.backup(copy)
        server.start()
        told = server.request("GET", f"/api/v1/conversations/{conversations[0][0]}", token=conversations[0][1])
        if "年费" not in told and "利率" not in told and "验证码" not in told and "挂失" not in told:
            sys.exit("what was said before the server was killed is gone")
        server.process.terminate()
        server.process.wait(60)
        again, more_searched = search(folder, planted, [])
        found += again
        if found:
            sys.exit(f"{len(found)} of {len(planted)} values lie in clear:\n" + "\n".join(found[:40]))
        print(f"{len(planted)} values planted, none found in {(searched + more_searched) / 1e6:.0f} MB of files, log, metrics and backup")


if __name__ == "__main__":
    main()

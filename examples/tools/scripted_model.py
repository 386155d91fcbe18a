"""A model that is not one: it says three things it was told to say, over both APIs.

    scripted_model.py COMMAND [ARGUMENT ...]

Serves on a free port of the loopback interface while COMMAND runs, which finds the
address in MODEL_URL, and exits as COMMAND does. It is strict where the real ones
are: a request without the tool, or without the result of the call it made, is a 400.

Its first program has a mistake. It corrects it from what the result says of it.
"""

import http.server
import json
import os
import subprocess
import sys
import threading

WRONG = "values = [3, 1, 4, 1, 5, 9, 2, 6]\nmean = sum(values) / len(value)\nmean"
RIGHT = "values = [3, 1, 4, 1, 5, 9, 2, 6]\nmean = sum(values) / len(values)\nmean"


class Refused(Exception):
    pass


def script(results):
    """What comes next after these results: (code or None, text or None)."""
    if not results:
        return WRONG, None
    last = results[-1]
    if len(results) == 1:
        if last.get("error_type") != "NameError" or last.get("error_line") != 2:
            raise Refused("the result does not say what went wrong, and where")
        return RIGHT, None
    if last.get("exit_code") != 0 or "result" not in last:
        raise Refused("the result has no result")
    return None, "The mean is %s." % last["result"]


def openai(request):
    if not any(tool["type"] == "function" and "code" in tool["function"]["parameters"]["properties"] for tool in request["tools"]):
        raise Refused("no tool that takes code")
    made = [call["id"] for message in request["messages"] for call in message.get("tool_calls", [])]
    answered = [message for message in request["messages"] if message["role"] == "tool"]
    if made != [message["tool_call_id"] for message in answered]:
        raise Refused("every call needs its result")
    code, text = script([json.loads(message["content"]) for message in answered])
    message = {"role": "assistant", "content": text}
    if code:
        name = request["tools"][0]["function"]["name"]
        arguments = json.dumps({"code": code, "eval_last_expr": True})
        call_id = "call_%d" % (len(made) + 1)
        message["tool_calls"] = [{"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}]
    return {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if code else "stop"}]}


def anthropic(request):
    if not any("code" in tool["input_schema"]["properties"] for tool in request["tools"]):
        raise Refused("no tool that takes code")
    blocks = [block for message in request["messages"] if isinstance(message["content"], list) for block in message["content"]]
    made = [block["id"] for block in blocks if block["type"] == "tool_use"]
    answered = [block for block in blocks if block["type"] == "tool_result"]
    if made != [block["tool_use_id"] for block in answered]:
        raise Refused("every call needs its result")
    code, text = script([json.loads(block["content"]) for block in answered])
    if not code:
        return {"role": "assistant", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
    call = {
        "type": "tool_use",
        "id": "toolu_%d" % (len(made) + 1),
        "name": request["tools"][0]["name"],
        "input": {"code": code, "eval_last_expr": True},
    }
    return {"role": "assistant", "content": [call], "stop_reason": "tool_use"}


ROUTES = {"/v1/chat/completions": openai, "/v1/messages": anthropic}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            status, answer = 200, ROUTES[self.path](request)
        except (Refused, LookupError) as problem:
            status, answer = 400, {"error": {"message": str(problem)}}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = dict(os.environ, MODEL_URL="http://127.0.0.1:%d" % server.server_port)
    sys.exit(subprocess.run(sys.argv[1:], env=environment).returncode)


main()

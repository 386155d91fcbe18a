"""An agent loop: a model, one tool, and this service as the tool. Standard library only.

    agent.py --model URL --format openai|anthropic [--service URL] QUESTION

The tool list comes from the service, and the arguments of a call go back to it as
they are. Whatever the run ended with is the result the model gets: stdout, result,
and for failures error_type, error_line and a hint it can act on.
"""

import argparse
import json
import os
import urllib.error
import urllib.request

# What a model can use of a result; the rest is for people.
SHOWN = ("status", "exit_code", "stdout", "stderr", "result", "error", "error_type", "error_line", "hint")
TURNS_MAX = 8


def http(url, document=None):
    """The JSON at `url`; a refusal's JSON is an answer as well."""
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def run_tool(service, arguments):
    _, answer = http(service + "/api/v1/eval", arguments)
    return {name: answer[name] for name in SHOWN if name in answer}


def ask(model, path, document):
    status, answer = http(model + path, document)
    if status != 200:
        raise SystemExit("the model answered %d: %s" % (status, json.dumps(answer)))
    return answer


def openai_turn(model, tools, messages):
    """Asks once. Returns what the model said and its calls, as (id, name, arguments)."""
    answer = ask(model, "/v1/chat/completions", {"model": "scripted", "messages": messages, "tools": tools})
    message = answer["choices"][0]["message"]
    messages.append(message)
    calls = [
        (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", [])
    ]
    return message.get("content"), calls


def openai_results(messages, results):
    for call_id, result in results:
        messages.append({"role": "tool", "tool_call_id": call_id, "content": json.dumps(result)})


def anthropic_turn(model, tools, messages):
    document = {"model": "scripted", "max_tokens": 1024, "messages": messages, "tools": tools}
    blocks = ask(model, "/v1/messages", document)["content"]
    messages.append({"role": "assistant", "content": blocks})
    text = "".join(block["text"] for block in blocks if block["type"] == "text")
    return text, [(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]


def anthropic_results(messages, results):
    blocks = [
        {
            "type": "tool_result",
            "tool_use_id": call_id,
            "content": json.dumps(result),
            "is_error": result.get("exit_code", 1) != 0,
        }
        for call_id, result in results
    ]
    messages.append({"role": "user", "content": blocks})


FORMATS = {"openai": (openai_turn, openai_results), "anthropic": (anthropic_turn, anthropic_results)}


def main():
    parser = argparse.ArgumentParser(description="Asks a model that may run Python.")
    parser.add_argument("question")
    parser.add_argument("--format", choices=sorted(FORMATS), required=True)
    parser.add_argument("--service", default="http://localhost:8080")
    parser.add_argument("--model", default=os.environ.get("MODEL_URL"), help="default: $MODEL_URL")
    options = parser.parse_args()
    turn, add_results = FORMATS[options.format]

    status, tools = http(options.service + "/api/v1/tools?format=" + options.format)
    if status != 200:
        raise SystemExit("the service answered %d: %s" % (status, tools["error"]))
    messages = [{"role": "user", "content": options.question}]
    for _ in range(TURNS_MAX):
        text, calls = turn(options.model, tools, messages)
        if not calls:
            print("answer:", text)
            return
        results = []
        for call_id, name, arguments in calls:
            print("%s:\n  %s" % (name, arguments["code"].replace("\n", "\n  ")))
            result = run_tool(options.service, arguments)
            for field in ("result", "error", "error_type", "error_line"):
                if field in result:
                    print("-> %s: %s" % (field, result[field]))
            results.append((call_id, result))
        add_results(messages, results)
    raise SystemExit("no answer after %d turns" % TURNS_MAX)


main()

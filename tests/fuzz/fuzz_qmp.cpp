// QMP's side of the line: any bytes. Each answer is one JSON object on a line of its own, and nothing is executed
// before the negotiation.
#include <algorithm>
#include <string>

#include "monitor/qmp/session.h"
#include "tests/fuzz/input.h"

namespace ring3::fuzz {

void Run(Input input) {
  bool negotiated = false;
  const auto execute = [&](const std::string&, const qmp::Json& arguments) -> qmp::Json {
    Require(negotiated, "a command before the negotiation");
    if (arguments.contains("fail")) throw qmp::CommandError("GenericError", arguments["fail"].dump());
    return arguments;
  };
  const auto send = [&](std::string_view line) {
    Require(line.ends_with("\r\n"), "an answer that is no line");
    Require(std::count(line.begin(), line.end(), '\n') == 1, "an answer of several lines");
    const qmp::Json answer = qmp::Json::parse(line, nullptr, false);
    Require(answer.is_object(), "an answer that is no object");
    if (answer.contains("return")) negotiated = true;
  };
  qmp::Dialogue dialogue(execute, send);
  if (input.Bit()) dialogue.Receive("{\"execute\":\"qmp_capabilities\"}\n");
  while (!input.Empty()) {
    const auto bytes = input.TakeBytes(1 + input.Byte());
    dialogue.Receive({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
}

}  // namespace ring3::fuzz

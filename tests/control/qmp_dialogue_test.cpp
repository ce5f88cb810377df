// The protocol, with a machine that only knows "echo".
#include <catch2/catch.hpp>

#include "monitor/qmp/session.h"

namespace ring3::qmp {
namespace {

struct Client {
  std::vector<std::string> lines;
  Dialogue dialogue{[](const std::string& command, const Json& arguments) -> Json {
                      if (command == "echo") return arguments;
                      throw CommandError("CommandNotFound", "no " + command);
                    },
                    [this](std::string_view line) { lines.emplace_back(line); }};

  Json Ask(const std::string& text) {
    lines.clear();
    dialogue.Receive(text + "\n");
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].ends_with("\r\n"));
    return Json::parse(lines[0]);
  }
  std::string ErrorOf(const std::string& text) { return Ask(text)["error"]["desc"]; }
  void Negotiate() { CHECK(Ask("{\"execute\":\"qmp_capabilities\"}") == Json{{"return", Json::object()}}); }
};

TEST_CASE("a client is greeted, and must negotiate first", "[qmp]") {
  Client client;
  REQUIRE(client.lines.size() == 1);
  CHECK(Json::parse(client.lines[0])["QMP"]["capabilities"].is_array());
  CHECK(client.Ask("{\"execute\":\"echo\"}")["error"]["class"] == "CommandNotFound");
  CHECK_FALSE(client.dialogue.Negotiated());
  client.Negotiate();
  CHECK(client.dialogue.Negotiated());
  CHECK(client.Ask("{\"execute\":\"qmp_capabilities\"}")["error"]["class"] == "CommandNotFound");
}

TEST_CASE("capabilities that are not offered cannot be had", "[qmp]") {
  Client client;
  CHECK(client.ErrorOf("{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}") ==
        "Capability \"oob\" is not available");
  CHECK_FALSE(client.dialogue.Negotiated());
  CHECK(client.Ask("{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[]}}").contains("return"));
}

TEST_CASE("answers carry the request's id, whatever it is", "[qmp]") {
  Client client;
  client.Negotiate();
  CHECK(client.Ask("{\"execute\":\"echo\",\"arguments\":{\"x\":1},\"id\":{\"n\":[1,null]}}") ==
        Json::parse("{\"return\":{\"x\":1},\"id\":{\"n\":[1,null]}}"));
  CHECK(client.Ask("{\"execute\":\"what\",\"id\":5}") ==
        Json::parse("{\"error\":{\"class\":\"CommandNotFound\",\"desc\":\"no what\"},\"id\":5}"));
}

TEST_CASE("requests that are none are refused with the reason", "[qmp]") {
  Client client;
  client.Negotiate();
  CHECK(client.ErrorOf("{}") == "QMP input lacks member 'execute'");
  CHECK(client.ErrorOf("{\"execute\":5}") == "QMP input member 'execute' must be a string");
  CHECK(client.ErrorOf("{\"execute\":\"echo\",\"arguments\":[]}") == "QMP input member 'arguments' must be an object");
  CHECK(client.ErrorOf("{\"execute\":\"echo\",\"x\":1}") == "QMP input member 'x' is unexpected");
  CHECK(client.ErrorOf("{\"execute\" \"echo\"}") == "Invalid JSON syntax");
  CHECK(client.ErrorOf("{]") == "Invalid JSON syntax");
  CHECK(client.ErrorOf("[1,2]") == "Invalid JSON syntax");
  CHECK(client.ErrorOf("{\"execute\":\"\xff\xfe\"}") == "Invalid JSON syntax");
}

TEST_CASE("several requests may come at once", "[qmp]") {
  Client client;
  client.lines.clear();
  client.dialogue.Receive(
      "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"echo\",\"id\":1}{\"execute\":\"echo\",\"id\":2}");
  REQUIRE(client.lines.size() == 3);
  CHECK(Json::parse(client.lines[1])["id"] == 1);
  CHECK(Json::parse(client.lines[2])["id"] == 2);
}

}  // namespace
}  // namespace ring3::qmp

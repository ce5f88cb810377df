#include "monitor/qmp/json_stream.h"

#include <catch2/catch.hpp>
#include <vector>

namespace ring3::qmp {
namespace {

using Events = std::vector<std::string>;

struct Recorder {
  Events events;
  JsonStream stream{{.object = [this](std::string_view text) { events.emplace_back(text); },
                     .rubbish = [this](const std::string& why) { events.push_back("! " + why); }}};
};

TEST_CASE("objects are taken out of a stream, however it is cut", "[qmp]") {
  const std::string stream = " {\"a\": \"}\\\"{\"}\r\n{\"b\":[{},{}]}{}";
  const Events expected = {"{\"a\": \"}\\\"{\"}", "{\"b\":[{},{}]}", "{}"};
  Recorder whole, bytes;
  whole.stream.Feed(stream);
  CHECK(whole.events == expected);
  for (char c : stream) bytes.stream.Feed({&c, 1});
  CHECK(bytes.events == expected);
}

TEST_CASE("rubbish is told of once a line, and the next line is read", "[qmp]") {
  Recorder r;
  r.stream.Feed("rubbish {\"a\":1}\n{\"b\":2}\n]]\n");
  CHECK(r.events == Events{"! Invalid JSON syntax", "{\"b\":2}", "! Invalid JSON syntax"});
}

TEST_CASE("nesting and size have limits", "[qmp]") {
  Recorder r;
  SECTION("depth") {
    r.stream.Feed("{\"a\":" + std::string(100'000, '['));
    CHECK(r.events == Events{"! JSON nesting depth limit exceeded"});
  }
  SECTION("size") {
    r.stream.Feed("{\"a\":\"");
    for (int i = 0; i < 64; ++i) r.stream.Feed(std::string(100'000, 'x'));
    CHECK(r.events == Events{"! JSON token size limit exceeded"});
  }
  r.events.clear();
  r.stream.Feed("\n{}");
  CHECK(r.events == Events{"{}"});
}

}  // namespace
}  // namespace ring3::qmp

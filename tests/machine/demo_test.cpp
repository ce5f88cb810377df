#include <catch2/catch.hpp>

#include "tests/machine/process.h"

namespace ring3::test {
namespace {

void CheckDemo(std::vector<std::string> options, double seconds = 60) {
  options.insert(options.begin(), "demo");
  const Outcome demo = Run(options, {}, seconds);
  CAPTURE(demo.err);
  CHECK(demo.exit_code == 0);
  CHECK(demo.err.empty());
  REQUIRE_FALSE(demo.out.empty());
  const std::string last = LinesOf(demo.out).back();
  CHECK_THAT(last, Catch::Matches("ring3 demo: [1-9][0-9]* checks, 0 differ\r?"));
  CHECK(demo.out.find("DIFFERS") == std::string::npos);
}

}  // namespace

TEST_CASE("demo: no check differs", "[demo]") { CheckDemo({}); }
TEST_CASE("demo: one instruction a block", "[demo]") { CheckDemo({"--one-instruction-blocks"}); }
TEST_CASE("demo: blocks that aren't linked", "[demo]") { CheckDemo({"--no-link"}); }
TEST_CASE("demo: the smallest translation cache", "[demo]") { CheckDemo({"--tc-size", "256K"}); }
TEST_CASE("demo: 32 MiB of RAM", "[demo]") { CheckDemo({"--memory", "32M"}); }
TEST_CASE("demo: with every counter, dump and trace on", "[demo]") {
  CheckDemo({"--stats", "/dev/null", "--dump", "/dev/null", "--trace-exits", "/dev/null"});
}
TEST_CASE("demo: again and again", "[demo]") {
  for (int i = 0; i < 10; ++i) CheckDemo({});
}

}  // namespace ring3::test

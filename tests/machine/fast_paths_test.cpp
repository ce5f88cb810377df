// --without: the list, what it refuses, and the demo without each fast path and without all of them.
#include "translator/fast_paths.h"

#include <catch2/catch.hpp>

#include "tests/machine/process.h"

namespace ring3::test {
namespace {

void CheckDemo(const std::string& without) {
  const Outcome demo = Run({"demo", "--append", "checks=quick", "--without", without});
  CAPTURE(without, demo.out, demo.err);
  CHECK(demo.exit_code == 0);
  CHECK(demo.err.empty());
  CHECK(demo.out.find(", 0 differ") != std::string::npos);
}

}  // namespace

TEST_CASE("fast paths: the list names each", "[fast_paths]") {
  const Outcome help = Run({"run", "--without", "help"});
  CHECK(help.exit_code == 0);
  CHECK(help.err.empty());
  const std::vector<std::string> lines = LinesOf(help.out);
  REQUIRE(lines.size() == FastPaths::kCount);
  for (const FastPathRow& row : kFastPathRows)
    CHECK(lines[static_cast<unsigned>(row.path)].starts_with(std::string(row.name) + ' '));
}

TEST_CASE("fast paths: an unknown name is refused", "[fast_paths]") {
  for (const char* names : {"nothing", "block-links,All", "help-me"}) {
    const Outcome run = Run({"demo", "--without", names});
    CAPTURE(names, run.err);
    CHECK(run.exit_code == 2);
    CHECK(run.out.empty());
    CHECK(LinesOf(run.err).size() == 1);
  }
}

TEST_CASE("fast paths: the demo without each", "[fast_paths]") {
  for (const FastPathRow& row : kFastPathRows) CheckDemo(std::string(row.name));
}

TEST_CASE("fast paths: the demo with all, and with one that is usually off", "[fast_paths]") {
  for (const char* const with : {"all", "paired-returns"}) {
    const Outcome demo = Run({"demo", "--append", "checks=quick", "--with", with});
    CAPTURE(with, demo.out, demo.err);
    CHECK(demo.exit_code == 0);
    CHECK_THAT(demo.out, Catch::Contains(" checks, 0 differ"));
  }
  CHECK(Run({"demo", "--with", "no-such-path"}).exit_code == 2);
}

TEST_CASE("fast paths: the demo without several and without all", "[fast_paths]") {
  CheckDemo("block-links,inline-flags");
  CheckDemo("all");
}

}  // namespace ring3::test

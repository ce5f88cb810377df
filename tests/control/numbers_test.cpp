#include "monitor/numbers.h"

#include <catch2/catch.hpp>

#include "monitor/cpu/fault.h"

namespace ring3 {

TEST_CASE("numbers: digits and nothing else", "[numbers]") {
  CHECK(ParseDigits("0") == 0);
  CHECK(ParseDigits("1f", 16) == 0x1F);
  CHECK(ParseDigits("18446744073709551615") == UINT64_MAX);
  for (const char* text : {"", " 1", "1 ", "-1", "+1", "1f", "0x1", "18446744073709551616"}) {
    CHECK_FALSE(ParseDigits(text));
  }
}

TEST_CASE("numbers: hexadecimal behind 0x", "[numbers]") {
  CHECK(ParseNumber("010") == 10);
  CHECK(ParseNumber("0x1F") == 0x1F);
  CHECK_FALSE(ParseNumber("0x"));
  CHECK_FALSE(ParseNumber("0x-1"));
}

TEST_CASE("numbers: an option's message names it, its value and the range", "[numbers]") {
  CHECK(ParseNumberOption("--boot splash-time", "65535", 0, 65535) == 65535);
  for (const char* text : {"soon", "65536", "-1", ""}) {
    CHECK_THROWS_WITH(ParseNumberOption("--boot splash-time", text, 0, 65535),
                      std::string("--boot splash-time=") + text + ": say a number from 0 to 65535");
  }
  CHECK_THROWS_AS(ParseNumberOption("bus", "0", 1, 2), UsageError);
}

}  // namespace ring3

// The Bochs extension's registers.
#include "devices/vga/bochs_display.h"

#include <catch2/catch.hpp>

namespace ring3 {
namespace {

using B = BochsDisplay;

void Enable(B& display, uint16_t width, uint16_t height, uint16_t bits) {
  display.Write(B::kEnable, 0);
  display.Write(B::kWidth, width), display.Write(B::kHeight, height), display.Write(B::kBits, bits);
  display.Write(B::kEnable, B::kEnabled | B::kLinear);
}

TEST_CASE("It says what it is, what it can and how much memory it has") {
  B display(16u << 20);
  CHECK(display.Read(B::kId) == 0xB0C5);
  display.Write(B::kId, 0xB0C2);
  CHECK(display.Read(B::kId) == 0xB0C2);
  display.Write(B::kId, 0x1234);
  CHECK(display.Read(B::kId) == 0xB0C2);
  CHECK(display.Read(B::kMemory64K) == 256);
  display.Write(B::kEnable, B::kCapabilities);
  CHECK(display.Read(B::kWidth) == 2560);
  CHECK(display.Read(B::kHeight) == 1600);
  CHECK(display.Read(B::kBits) == 32);
}

TEST_CASE("Switching on clears memory unless told to keep it, and starts without virtual size") {
  B display(16u << 20);
  display.Write(B::kWidth, 1024), display.Write(B::kHeight, 768), display.Write(B::kBits, 32);
  CHECK(display.Write(B::kEnable, B::kEnabled));
  CHECK_FALSE(display.Write(B::kEnable, B::kEnabled));
  CHECK(display.Mode() == LinearMode{1024, 768, 32, 4096, 0, 0});
  CHECK(display.Read(B::kVirtualHeight) == 4096);
  display.Write(B::kEnable, 0);
  CHECK_FALSE(display.Write(B::kEnable, B::kEnabled | B::kKeepMemory));
}

TEST_CASE("The size of a mode that is on stays") {
  B display(16u << 20);
  Enable(display, 800, 600, 16);
  display.Write(B::kWidth, 640);
  CHECK(display.Read(B::kWidth) == 800);
}

TEST_CASE("What is shown stays inside the memory") {
  for (const uint32_t memory : {256u << 10, 16u << 20}) {
    B display(memory);
    for (const uint16_t bits : {4, 8, 15, 16, 24, 32}) {
      for (const uint16_t width : {1, 8, 640, 1366, 2560, 65535}) {
        for (const uint16_t value : {0, 1, 7, 1000, 40000, 65535}) {
          Enable(display, width, value, bits);
          display.Write(B::kVirtualWidth, value);
          display.Write(B::kXOffset, value), display.Write(B::kYOffset, value);
          const LinearMode mode = display.Mode();
          const uint64_t line = bits == 4 ? (mode.first_pixel + mode.width + 7) / 8 : mode.width * ((bits + 7) / 8);
          REQUIRE(mode.width > 0);
          REQUIRE(mode.height > 0);
          REQUIRE(mode.start + uint64_t{mode.pitch} * (mode.height - 1) + line <= memory / (bits == 4 ? 4 : 1));
        }
      }
    }
  }
}

TEST_CASE("Banks beyond the memory are refused") {
  B display(16u << 20);
  Enable(display, 1024, 768, 32);
  display.Write(B::kBank, 255);
  CHECK(display.BankOffset() == 255u << 16);
  display.Write(B::kBank, 256);
  CHECK(display.BankOffset() == 255u << 16);
}

}  // namespace
}  // namespace ring3

// The guest's screen in a browser: the address that ring3 prints, opened in Chromium. RING3_BROWSER_EVIDENCE=FILE keeps the
// page as a PNG file.
#include "tests/machine/browser.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <thread>

#include "tests/machine/control_client.h"
#include "tests/machine/process.h"

namespace ring3::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* kScreen = "#noVNC_container canvas";
constexpr uint32_t kGreen = 0x00AA00, kRed = 0xAA0000, kWhite = 0xFFFFFF;
constexpr auto kPatience = 120s;

/// What keeps the test from running here; nullptr if nothing does.
const char* Missing() {
  if (!Browser::Installed()) return "chromium";
  if (!std::ifstream("/usr/share/novnc/vnc.html")) return "novnc";
  if (!std::ifstream("/usr/share/seabios/bios-256k.bin")) return "seabios";
  return nullptr;
}

bool Eventually(auto&& condition) {
  for (const auto end = std::chrono::steady_clock::now() + kPatience; std::chrono::steady_clock::now() < end;) {
    if (condition()) return true;
    std::this_thread::sleep_for(200ms);
  }
  return false;
}

/// A machine with the boot sector that draws, and ports for VNC and pages that are free.
struct Machine {
  Scratch scratch;
  std::string control = scratch.Path("control"), url;
  std::optional<Process> process;

  Machine() {
    for (int port = 5900 + 100 + getpid() % 20000, tries = 0; url.empty() && tries < 20; port += 101, ++tries) {
      process.emplace(std::vector<std::string>{"run", "--fda", RING3_PAINTER, "--snapshot", "--boot", "a", "-m", "32M",
                                               "--serial", "none", "--control", control, "--max-seconds", "600",
                                               "--display", "vnc:" + std::to_string(port)});
      Eventually([&] { return !process->Running() || process->ErrorSoFar().ends_with("/\n"); });
      const std::string said = process->ErrorSoFar();
      const size_t at = said.find("http://");
      if (at != std::string::npos) url = said.substr(at, said.find('\n', at) - at);
    }
  }

  /// What `ring3 screenshot` shows.
  Picture Screen() const {
    const std::string file = scratch.Path("screen.png");
    const Outcome shot = Run({"screenshot", "--control", control, file});
    CAPTURE(shot.err);
    REQUIRE(shot.exit_code == 0);
    return DecodePng(ReadFile(file));
  }
};

}  // namespace

TEST_CASE("browser: noVNC in Chromium shows the guest's screen and takes its keys", "[browser]") {
  if (const char* missing = Missing()) {
    std::printf("skipped, there is no %s\n", missing);
    return;
  }
  Machine machine;
  REQUIRE(machine.url != "");
  Browser browser(machine.scratch.Path(""));
  browser.Open(machine.url);
  Picture screen, shown;
  const bool same = Eventually([&] {
    screen = machine.Screen();
    shown = browser.Look(kScreen);
    return shown == screen && shown.At(shown.width * 9 / 32, shown.height / 4) == kRed;
  });
  if (const char* file = std::getenv("RING3_BROWSER_EVIDENCE")) std::ofstream(file) << browser.Screenshot();
  CAPTURE(shown.width, shown.height, screen.width, screen.height);
  REQUIRE(same);
  CHECK(shown.At(shown.width * 31 / 32, shown.height * 3 / 4) == kWhite);

  CHECK(Eventually([&] {
    browser.Press('b');
    shown = browser.Look(kScreen);
    return shown == machine.Screen() && shown.At(shown.width * 31 / 32, shown.height * 3 / 4) == kGreen;
  }));
}

}  // namespace ring3::test

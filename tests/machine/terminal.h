// A terminal for the tests of the program.
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstring>
#include <string>
#include <thread>

namespace ring3::test {

/// A pseudo-terminal whose far end the test plays.
class Terminal {
 public:
  Terminal() : master_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
    REQUIRE(master_ >= 0);
    REQUIRE(grantpt(master_) == 0);
    REQUIRE(unlockpt(master_) == 0);
    slave_ = open(ptsname(master_), O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(slave_ >= 0);
    before_ = Settings();
  }
  ~Terminal() {
    close(master_);
    close(slave_);
  }
  int Slave() const { return slave_; }
  void Type(const std::string& keys) {
    REQUIRE(write(master_, keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()));
  }
  bool Raw() const { return !(Settings().c_lflag & (ICANON | ECHO | ISIG)); }
  bool AsBefore() const {
    const termios now = Settings();
    return now.c_iflag == before_.c_iflag && now.c_oflag == before_.c_oflag && now.c_cflag == before_.c_cflag &&
           now.c_lflag == before_.c_lflag && std::memcmp(now.c_cc, before_.c_cc, sizeof now.c_cc) == 0;
  }
  bool BecomesRaw() const {
    for (int i = 0; i < 5000 && !Raw(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Raw();
  }

 private:
  termios Settings() const {
    termios settings;
    REQUIRE(tcgetattr(slave_, &settings) == 0);
    return settings;
  }
  int master_, slave_ = -1;
  termios before_;
};

}  // namespace ring3::test

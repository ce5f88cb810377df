#include "tests/machine/browser.h"

#include <fcntl.h>
#include <png.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cctype>
#include <cstring>
#include <stdexcept>

namespace ring3::test {
namespace {

using Json = nlohmann::json;

constexpr const char* kChromium = "/usr/bin/chromium";
constexpr int kPatienceMs = 120'000;
constexpr int kCommands = 3, kAnswers = 4;  // the descriptors of --remote-debugging-pipe

/// In the child. The browser's helpers are in its process group.
[[noreturn]] void Execute(const std::string& folder, int commands, int answers) {
  setpgid(0, 0);
  const int nothing = open("/dev/null", O_RDWR);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(nothing, stream);
  const int in = fcntl(commands, F_DUPFD, kAnswers + 1), out = fcntl(answers, F_DUPFD, kAnswers + 1);
  dup2(in, kCommands);
  dup2(out, kAnswers);
  setenv("HOME", folder.c_str(), 1);
  const std::string profile = "--user-data-dir=" + folder + "/profile";
  // Containers have little /dev/shm and no namespaces for the sandbox; a proxy of the environment leads elsewhere.
  execl(kChromium, kChromium, "--headless", "--remote-debugging-pipe", profile.c_str(), "--no-sandbox", "--disable-gpu",
        "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server", "--disable-background-networking",
        "--disable-component-update", "--force-color-profile=srgb", "--force-device-scale-factor=1",
        "--window-size=1000,700", "about:blank", nullptr);
  _exit(127);
}

std::string DecodeBase64(const std::string& text) {
  static const std::string kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned bits = 0, count = 0;
  for (const char c : text) {
    const size_t digit = kDigits.find(c);
    if (digit == std::string::npos) break;
    bits = bits << 6 | static_cast<unsigned>(digit);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> count & 0xFF);
  }
  return bytes;
}

std::string ImageOf(const Json& screenshot) { return DecodeBase64(screenshot.at("data")); }

}  // namespace

Picture DecodePng(const std::string& file) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&image, file.data(), file.size())) throw std::runtime_error("no PNG");
  image.format = PNG_FORMAT_BGRA;  // 0xAARRGGBB as a word
  Picture picture{image.width, image.height, std::vector<uint32_t>(size_t{image.width} * image.height)};
  if (!png_image_finish_read(&image, nullptr, picture.pixels.data(), 0, nullptr)) throw std::runtime_error("bad PNG");
  for (uint32_t& pixel : picture.pixels) pixel &= 0xFFFFFF;
  return picture;
}

bool Browser::Installed() { return access(kChromium, X_OK) == 0; }

Browser::Browser(const std::string& folder) {
  int commands[2], answers[2];
  if (pipe2(commands, O_CLOEXEC) != 0 || pipe2(answers, O_CLOEXEC) != 0) throw std::runtime_error("no pipes");
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) Execute(folder, commands[0], answers[1]);
  close(commands[0]);
  close(answers[1]);
  to_ = commands[1];
  from_ = answers[0];
  signal(SIGPIPE, SIG_IGN);
  const Json targets = Ask("Target.getTargets").at("targetInfos");
  for (const Json& target : targets) {
    if (target.at("type") != "page") continue;
    session_ = Ask("Target.attachToTarget", {{"targetId", target.at("targetId")}, {"flatten", true}}).at("sessionId");
    return;
  }
  throw std::runtime_error("the browser has no page: " + targets.dump());
}

Browser::~Browser() {
  close(to_);
  close(from_);
  kill(-pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Browser::Open(const std::string& url) { Ask("Page.navigate", {{"url", url}}); }

Json Browser::Evaluate(const std::string& expression) {
  const Json answer = Exchange("Runtime.evaluate", {{"expression", expression}, {"returnByValue", true}});
  if (!answer.contains("result")) return {};  // as while a page is being left
  return answer["result"].at("result").value("value", Json());
}

std::string Browser::Screenshot() { return ImageOf(Ask("Page.captureScreenshot", {{"format", "png"}})); }

Picture Browser::Look(const std::string& element) {
  const Json place = Evaluate("(() => { const e = document.querySelector('" + element + R"('); if (!e) return null;
    const r = e.getBoundingClientRect();
    if (r.width == 0 || r.x < 0 || r.y < 0 || r.right > innerWidth || r.bottom > innerHeight) return null;
    return {x: r.x, y: r.y, width: r.width, height: r.height, scale: 1}; })())");
  if (!place.is_object()) return {};
  return DecodePng(ImageOf(Ask("Page.captureScreenshot", {{"format", "png"}, {"clip", place}})));
}

void Browser::Press(char letter) {
  const char upper = static_cast<char>(std::toupper(letter));
  Json key = {{"type", "keyDown"},
              {"key", std::string(1, letter)},
              {"text", std::string(1, letter)},
              {"code", std::string("Key") + upper},
              {"windowsVirtualKeyCode", upper}};
  Ask("Input.dispatchKeyEvent", key);
  key["type"] = "keyUp";
  key.erase("text");
  Ask("Input.dispatchKeyEvent", key);
}

Json Browser::Ask(const std::string& method, const Json& parameters) {
  const Json answer = Exchange(method, parameters);
  if (!answer.contains("result")) throw std::runtime_error(method + ": " + answer.dump());
  return answer["result"];
}

Json Browser::Exchange(const std::string& method, const Json& parameters) {
  Json command = {{"id", ++last_id_}, {"method", method}, {"params", parameters}};
  if (!session_.empty()) command["sessionId"] = session_;
  const std::string bytes = command.dump() + '\0';
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = write(to_, bytes.data() + done, bytes.size() - done);
    if (n <= 0) throw std::runtime_error("the browser has gone");
    done += static_cast<size_t>(n);
  }
  for (;;) {
    const Json answer = Read();
    if (answer.value("id", 0) == last_id_) return answer;  // others are events
  }
}

/// Messages end with a zero byte.
Json Browser::Read() {
  for (;;) {
    const size_t end = waiting_.find('\0');
    if (end != std::string::npos) {
      const Json message = Json::parse(waiting_.substr(0, end));
      waiting_.erase(0, end + 1);
      return message;
    }
    pollfd wait = {from_, POLLIN, 0};
    char bytes[65536];
    if (poll(&wait, 1, kPatienceMs) <= 0) throw std::runtime_error("the browser does not answer");
    const ssize_t n = read(from_, bytes, sizeof bytes);
    if (n <= 0) throw std::runtime_error("the browser has gone");
    waiting_.append(bytes, static_cast<size_t>(n));
  }
}

}  // namespace ring3::test

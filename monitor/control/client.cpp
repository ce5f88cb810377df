#include "monitor/control/client.h"

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "monitor/control/socket_address.h"
#include "monitor/cpu/fault.h"
#include "monitor/options.h"

namespace ring3 {
namespace {

using Json = nlohmann::json;

constexpr int kRefused = 1, kTimeoutSeconds = 30;

struct Words {
  std::string address;
  std::vector<std::string> text;
  std::string keys, file;
};

/// A QMP client that asks one thing at a time.
class QmpClient {
 public:
  explicit QmpClient(const SocketAddress& address) : address_(address), fd_(ConnectTo(address, "--control")) {
    const timeval patience{.tv_sec = kTimeoutSeconds, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const Json greeting = ReadObject();
    if (!greeting.contains("QMP")) Fail("what listens there does not speak QMP");
    Ask("qmp_capabilities", Json::object());
  }
  ~QmpClient() { close(fd_); }
  QmpClient(const QmpClient&) = delete;

  /// The answer: an object with "return" or "error".
  Json Ask(const std::string& command, const Json& arguments) {
    const std::string line =
        Json{{"execute", command}, {"arguments", arguments}}.dump(-1, ' ', false, Json::error_handler_t::replace) +
        "\n";
    if (send(fd_, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) Fail("it hung up");
    for (;;) {
      Json object = ReadObject();
      if (!object.contains("event")) return object;
    }
  }

 private:
  [[noreturn]] void Fail(const std::string& why) const {
    throw UsageError(fmt::format("--control {}: {}", address_.ToString(), why));
  }

  Json ReadObject() {
    for (;;) {
      const size_t end = waiting_.find('\n');
      if (end != std::string::npos) {
        const Json object = Json::parse(waiting_.substr(0, end), nullptr, false);
        waiting_.erase(0, end + 1);
        if (!object.is_object()) Fail("what listens there does not speak QMP");
        return object;
      }
      constexpr size_t kMost = 16u << 20;
      char bytes[4096];
      const ssize_t n = recv(fd_, bytes, sizeof bytes, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) Fail("no answer in half a minute");
      if (n <= 0 || waiting_.size() > kMost) Fail("it hung up");
      waiting_.append(bytes, static_cast<size_t>(n));
    }
  }

  const SocketAddress address_;
  const int fd_;
  std::string waiting_;
};

/// \n, \t, \e, \b and \\ mean what they do in C.
std::string Unescape(const std::string& text) {
  constexpr std::pair<char, char> kEscapes[] = {{'n', '\n'}, {'t', '\t'}, {'e', '\x1B'}, {'b', '\b'}, {'\\', '\\'}};
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      plain.push_back(text[i]);
      continue;
    }
    const char next = i + 1 < text.size() ? text[++i] : 0;
    const auto known = std::ranges::find(kEscapes, next, &std::pair<char, char>::first);
    if (known == std::end(kEscapes)) throw UsageError("type: a backslash goes with n, t, e, b or another backslash");
    plain.push_back(known->second);
  }
  return plain;
}

Json TypeArguments(const Words& words) {
  std::string text;
  for (const std::string& word : words.text) text += (text.empty() ? "" : " ") + word;
  return {{"text", Unescape(text)}};
}

Json KeyArguments(const Words& words) {
  Json keys = Json::array();
  for (size_t at = 0; at <= words.keys.size();) {
    const size_t end = std::min(words.keys.find('-', at), words.keys.size());
    keys.push_back({{"type", "qcode"}, {"data", words.keys.substr(at, end - at)}});
    at = end + 1;
  }
  return {{"keys", keys}};
}

/// The machine may have another working directory.
Json ScreenshotArguments(const Words& words) {
  return {{"filename", std::filesystem::absolute(words.file).string()},
          {"format", words.file.ends_with(".ppm") ? "ppm" : "png"}};
}

struct Request {
  std::string command;
  Json arguments = Json::object();
};

Request RequestFor(std::string_view name, const Words& words) {
  if (name == "status") return {"query-status"};
  if (name == "reset") return {"system_reset"};
  if (name == "powerdown") return {"system_powerdown"};
  if (name == "screenshot") return {"screendump", ScreenshotArguments(words)};
  if (name == "text") return {"x-ring3-screen-text"};
  if (name != "type") return {std::string(name)};
  if (words.keys.empty() == words.text.empty()) throw UsageError("type: say a text, or --keys ctrl-alt-delete");
  if (!words.keys.empty()) return {"send-key", KeyArguments(words)};
  return {"x-ring3-type", TypeArguments(words)};
}

void AddWords(CLI::App& app, std::string_view name, Words& words) {
  app.add_option("--control", words.address, "the machine's control socket: a path, unix:PATH or tcp:HOST:PORT")
      ->required();
  if (name == "screenshot") app.add_option("file", words.file, "where to: PNG, or PPM for .ppm")->required();
  if (name != "type") return;
  app.add_option("text", words.text, "what to type; \\n is the Enter key");
  app.add_option("--keys", words.keys, "keys to press together instead: ctrl-alt-delete");
}

}  // namespace

bool IsClientCommand(std::string_view command) {
  constexpr std::string_view kCommands[] = {"status", "stop", "cont",       "reset", "powerdown",
                                            "quit",   "type", "screenshot", "text"};
  return std::ranges::find(kCommands, command) != std::end(kCommands);
}

int ClientMain(int argc, char** argv) {
  const std::string_view name = argv[0];
  Words words;
  CLI::App app{"talks to a machine that runs with --control or --qmp", fmt::format("ring3 {}", name)};
  AddWords(app, name, words);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    throw UsageError(fmt::format("{}: {}", name, error.what()));
  }
  const Request request = RequestFor(name, words);
  QmpClient client(ParseSocketAddress(words.address, "--control", true));
  const Json answer = client.Ask(request.command, request.arguments);
  if (answer.contains("error")) {
    fmt::print(stderr, "ring3: {}: {}\n", name, answer["error"].value("desc", "refused"));
    return kRefused;
  }
  if (name == "status") fmt::print("{}\n", answer["return"].value("status", ""));
  if (name == "text") fmt::print("{}", answer["return"].value("text", ""));
  return exit_code::kSuccess;
}

}  // namespace ring3

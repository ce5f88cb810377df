// 9P messages on a folder of its own: any message has an answer that fits, and nothing outside the folder changes.
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "devices/ninep/server.h"
#include "tests/fuzz/input.h"

namespace ring3::fuzz {
namespace {

namespace fs = std::filesystem;
using ninep::Server;

constexpr size_t kHeaderBytes = 7;

struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "ring3-fuzz-XXXXXX").string();
    Require(mkdtemp(name.data()) != nullptr, "no folder");
    outside = name;
    fs::create_directory(outside / "share");
    fs::create_directory(outside / "share" / "a");
    std::ofstream(outside / "share" / "b") << "content";
    fs::create_symlink("..", outside / "share" / "c");
    std::ofstream(outside / "secret") << "secret";
  }
  ~Folder() {
    std::error_code ignored;
    fs::permissions(outside / "share" / "a", fs::perms::all, ignored);
    fs::remove_all(outside, ignored);
  }
  void Check() const {
    struct stat status;
    Require(stat((outside / "secret").c_str(), &status) == 0 && status.st_size == 6, "a file outside has changed");
    unsigned entries = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator(outside)) ++entries;
    Require(entries == 2, "something was made outside");
  }
  fs::path outside;
};

}  // namespace

void Run(Input input) {
  const Folder folder;
  const ninep::SharedFolder shared((folder.outside / "share").string(), input.Bit());
  Server server(shared);
  while (!input.Empty()) {
    const size_t room = Server::kSmallestRoom + input.Take<uint16_t>() % 4096u;
    const auto body = input.TakeBytes(input.Byte());
    std::vector<uint8_t> message(4 + body.size());
    message[0] = static_cast<uint8_t>(message.size());
    std::copy(body.begin(), body.end(), message.begin() + 4);
    const std::vector<uint8_t> answer = server.Handle(message, room);
    Require(answer.size() >= kHeaderBytes && answer.size() <= room, "an answer of the wrong size");
  }
  folder.Check();
}

}  // namespace ring3::fuzz

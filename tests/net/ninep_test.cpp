// The 9P server on a folder of the test's.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "devices/ninep/server.h"

namespace ring3::ninep {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kRoot = 0, kNoFid = ~0u;
constexpr uint8_t kError = 7;

struct Fixture {
  fs::path outside, share;
  SharedFolder folder;
  Server server;

  explicit Fixture(bool read_only = false)
      : outside(MakeOutside()), share(outside / "share"), folder(share.string(), read_only), server(folder) {
    Writer version;
    version.Put<uint32_t>(8192), version.String("9P2000.L");
    Reader answer = Ask(100, version);
    CHECK(answer.Take<uint32_t>() == 8192);
    CHECK(answer.String() == "9P2000.L");
    Writer attach;
    attach.Put<uint32_t>(kRoot), attach.Put<uint32_t>(kNoFid), attach.String("root"), attach.String("/");
    attach.Put<uint32_t>(0);
    Ask(104, attach);
    CHECK(error == 0);
  }
  ~Fixture() { fs::remove_all(outside); }

  static fs::path MakeOutside() {
    std::string name = (fs::temp_directory_path() / "ring3-ninep-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    fs::create_directory(fs::path(name) / "share");
    std::ofstream(fs::path(name) / "secret") << "not for the guest";
    return name;
  }

  /// The answer's body; `error` is set when it is Rlerror.
  Reader Ask(uint8_t type, Writer& body, size_t room = 8192) {
    const std::vector<uint8_t> bytes = body.Finish();
    Writer message;
    message.Put<uint32_t>(static_cast<uint32_t>(7 + bytes.size())), message.Put<uint8_t>(type);
    message.Put<uint16_t>(77);
    std::copy(bytes.begin(), bytes.end(), message.Append(bytes.size()).begin());
    answer = server.Handle(message.Finish(), room);
    REQUIRE(answer.size() >= 7);
    Reader reader(answer);
    CHECK(reader.Take<uint32_t>() == answer.size());
    const auto answer_type = reader.Take<uint8_t>();
    CHECK(reader.Take<uint16_t>() == 77);
    error = 0;
    if (answer_type == kError) {
      error = static_cast<int>(reader.Take<uint32_t>());
    } else {
      CHECK(answer_type == type + 1);
    }
    return reader;
  }
  int Walk(uint32_t from, uint32_t to, const std::vector<std::string>& names) {
    Writer body;
    body.Put<uint32_t>(from), body.Put<uint32_t>(to), body.Put<uint16_t>(static_cast<uint16_t>(names.size()));
    for (const std::string& name : names) body.String(name);
    Reader reader = Ask(110, body);
    return error == 0 ? reader.Take<uint16_t>() : -error;
  }
  int Clunk(uint32_t fid) {
    Writer body;
    body.Put<uint32_t>(fid);
    Ask(120, body);
    return error;
  }
  int Open(uint32_t fid, uint32_t flags) {
    Writer body;
    body.Put<uint32_t>(fid), body.Put<uint32_t>(flags);
    Ask(12, body);
    return error;
  }
  int Create(uint32_t fid, const std::string& name, uint32_t flags, uint32_t mode = 0644) {
    Writer body;
    body.Put<uint32_t>(fid), body.String(name), body.Put<uint32_t>(flags), body.Put<uint32_t>(mode);
    body.Put<uint32_t>(0);
    Ask(14, body);
    return error;
  }
  std::string ReadFile(uint32_t fid, uint64_t offset = 0, uint32_t count = 4096) {
    Writer body;
    body.Put<uint32_t>(fid), body.Put<uint64_t>(offset), body.Put<uint32_t>(count);
    Reader reader = Ask(116, body);
    const auto bytes = reader.Bytes(reader.Take<uint32_t>());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  int WriteFile(uint32_t fid, const std::string& text, uint64_t offset = 0) {
    Writer body;
    body.Put<uint32_t>(fid), body.Put<uint64_t>(offset), body.Put<uint32_t>(static_cast<uint32_t>(text.size()));
    std::copy(text.begin(), text.end(), body.Append(text.size()).begin());
    Reader reader = Ask(118, body);
    return error ? -error : static_cast<int>(reader.Take<uint32_t>());
  }
  int Named(uint8_t type, uint32_t fid, const std::string& name, const std::string& second = "", bool two = false) {
    Writer body;
    body.Put<uint32_t>(fid), body.String(name);
    if (two) body.String(second);
    body.Put<uint32_t>(type == 76 ? 0 : 0755), body.Put<uint32_t>(0), body.Put<uint32_t>(0), body.Put<uint32_t>(0);
    Ask(type, body);
    return error;
  }
  int MakeFolder(const std::string& name) { return Named(72, kRoot, name); }
  int MakeLink(const std::string& name, const std::string& target) { return Named(16, kRoot, name, target, true); }
  std::vector<std::string> List(uint32_t fid, uint32_t count) {
    std::vector<std::string> names;
    uint64_t offset = 0;
    for (;;) {
      Writer body;
      body.Put<uint32_t>(fid), body.Put<uint64_t>(offset), body.Put<uint32_t>(count);
      Reader reader = Ask(40, body);
      if (error != 0 || reader.Take<uint32_t>() == 0) return names;
      for (;;) {
        reader.Bytes(13);
        const auto next = reader.Take<uint64_t>();
        reader.Take<uint8_t>();
        const std::string name = reader.String();
        if (!reader.Good()) break;
        offset = next;
        names.push_back(name);
      }
    }
  }

  std::vector<uint8_t> answer;
  int error = 0;
};

std::string ContentOf(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("9p: creates, writes, reads", "[9p]") {
  Fixture f;
  REQUIRE(f.Walk(kRoot, 1, {}) == 0);
  CHECK(f.Create(1, "file", O_RDWR) == 0);
  CHECK(f.WriteFile(1, "hello, world") == 12);
  CHECK(f.WriteFile(1, "W", 7) == 1);
  CHECK(f.ReadFile(1) == "hello, World");
  CHECK(f.ReadFile(1, 7) == "World");
  CHECK(f.ReadFile(1, 100).empty());
  CHECK(f.Clunk(1) == 0);
  CHECK(f.Clunk(1) == EBADF);
  CHECK(ContentOf(f.share / "file") == "hello, World");
  CHECK((fs::status(f.share / "file").permissions() & fs::perms::all) == fs::perms(0644));
}

TEST_CASE("9p: no way out of the folder", "[9p]") {
  Fixture f;
  fs::create_directory(f.share / "inner");
  fs::create_symlink("..", f.share / "up");
  fs::create_symlink("../secret", f.share / "link");
  fs::create_symlink("/", f.share / "slash");
  SECTION("dots end at the folder") {
    CHECK(f.Walk(kRoot, 1, {"..", "..", "secret"}) == 2);
    CHECK(f.Walk(kRoot, 1, {"inner", "..", "..", "secret"}) == 3);
    CHECK(f.Clunk(1) == EBADF);
    CHECK(f.Walk(kRoot, 1, {"..", "share"}) == 1);
  }
  SECTION("names are single") {
    CHECK(f.Walk(kRoot, 1, {"../secret"}) == -EINVAL);
    CHECK(f.Walk(kRoot, 1, {"/etc/passwd"}) == -EINVAL);
    CHECK(f.Walk(kRoot, 1, {""}) == -EINVAL);
    CHECK(f.Walk(kRoot, 1, {std::string("inner\0x", 7)}) == -EINVAL);
    CHECK(f.Create(kRoot, "../new", O_RDWR) == EINVAL);
    CHECK(f.Create(kRoot, "..", O_RDWR) == EINVAL);
    CHECK(f.MakeFolder("../new") == EINVAL);
    CHECK(f.MakeLink("../new", "x") == EINVAL);
    CHECK(f.Named(76, kRoot, "../secret") == EINVAL);
  }
  SECTION("links are not followed") {
    CHECK(f.Walk(kRoot, 1, {"link"}) == 1);
    CHECK(f.Open(1, O_RDONLY) == ELOOP);
    CHECK(f.Walk(kRoot, 2, {"up", "secret"}) == 1);
    CHECK(f.Walk(kRoot, 3, {"slash", "etc"}) == 1);
    CHECK(f.Create(kRoot, "link", O_WRONLY | O_TRUNC) == ELOOP);
    Writer body;  // a mode for what the link names
    body.Put<uint32_t>(1), body.Put<uint32_t>(1), body.Put<uint32_t>(0777);
    for (int i = 0; i < 7; ++i) body.Put<uint64_t>(0);
    f.Ask(26, body);
    CHECK(f.error == EOPNOTSUPP);
  }
  SECTION("a folder that became a link on the host") {
    CHECK(f.Walk(kRoot, 1, {"inner"}) == 1);
    fs::rename(f.share / "inner", f.outside / "moved");
    fs::create_symlink("..", f.share / "inner");
    CHECK(f.Walk(1, 2, {"..", "secret"}) == 1);
    CHECK(f.Walk(kRoot, 3, {"inner", "secret"}) == 1);
  }
  CHECK(ContentOf(f.outside / "secret") == "not for the guest");
  CHECK(!fs::exists(f.outside / "new"));
}

TEST_CASE("9p: a read-only folder stays as it is", "[9p]") {
  Fixture f(true);
  std::ofstream(f.share / "file") << "text";
  REQUIRE(f.Walk(kRoot, 1, {"file"}) == 1);
  CHECK(f.Open(1, O_RDWR) == EROFS);
  CHECK(f.Open(1, O_RDONLY | O_TRUNC) == EROFS);
  CHECK(f.Open(1, O_RDONLY) == 0);
  CHECK(f.ReadFile(1) == "text");
  CHECK(f.WriteFile(1, "x") == -EROFS);
  CHECK(f.Create(kRoot, "new", O_RDONLY) == EROFS);
  CHECK(f.MakeFolder("new") == EROFS);
  CHECK(f.MakeLink("new", "file") == EROFS);
  CHECK(f.Named(76, kRoot, "file") == EROFS);
  CHECK(ContentOf(f.share / "file") == "text");
}

TEST_CASE("9p: lists folders in pieces, whatever changes meanwhile", "[9p]") {
  Fixture f;
  for (int i = 0; i < 100; ++i) std::ofstream(f.share / ("name" + std::to_string(i))) << i;
  REQUIRE(f.Walk(kRoot, 1, {}) == 0);
  CHECK(f.Open(1, O_RDONLY) == 0);
  CHECK(f.List(1, 200).size() == 102);
  CHECK(f.List(1, 8000).size() == 102);
  CHECK(f.List(1, 10).empty());  // not even one fits
}

TEST_CASE("9p: links, names and removal", "[9p]") {
  Fixture f;
  CHECK(f.MakeFolder("folder") == 0);
  CHECK(f.MakeFolder("folder") == EEXIST);
  CHECK(f.MakeLink("soft", "folder/target") == 0);
  REQUIRE(f.Walk(kRoot, 1, {"soft"}) == 1);
  Writer read_link;
  read_link.Put<uint32_t>(1);
  CHECK(f.Ask(22, read_link).String() == "folder/target");
  std::ofstream(f.share / "file") << "text";
  REQUIRE(f.Walk(kRoot, 2, {"file"}) == 1);
  Writer link;
  link.Put<uint32_t>(kRoot), link.Put<uint32_t>(2), link.String("hard");
  f.Ask(70, link);
  CHECK(f.error == 0);
  CHECK(fs::hard_link_count(f.share / "file") == 2);
  REQUIRE(f.Walk(kRoot, 3, {"folder"}) == 1);
  Writer rename;
  rename.Put<uint32_t>(kRoot), rename.String("hard"), rename.Put<uint32_t>(3), rename.String("moved");
  f.Ask(74, rename);
  CHECK(f.error == 0);
  CHECK(ContentOf(f.share / "folder" / "moved") == "text");
  Writer rename_fid;  // and by the fid, whose parent and name follow
  rename_fid.Put<uint32_t>(2), rename_fid.Put<uint32_t>(3), rename_fid.String("again");
  f.Ask(20, rename_fid);
  CHECK(f.error == 0);
  Writer remove;
  remove.Put<uint32_t>(2);
  f.Ask(122, remove);
  CHECK(f.error == 0);
  CHECK(!fs::exists(f.share / "folder" / "again"));
  CHECK(f.Named(76, kRoot, "folder") == EISDIR);
}

TEST_CASE("9p: attributes", "[9p]") {
  Fixture f;
  std::ofstream(f.share / "file") << "0123456789";
  REQUIRE(f.Walk(kRoot, 1, {"file"}) == 1);
  Writer set;  // mode, size and times
  set.Put<uint32_t>(1), set.Put<uint32_t>(0x1B9), set.Put<uint32_t>(04600), set.Put<uint32_t>(0), set.Put<uint32_t>(0);
  for (const uint64_t value : {4, 1000, 1, 2000, 2}) set.Put<uint64_t>(value);
  f.Ask(26, set);
  CHECK(f.error == 0);
  struct stat status;
  REQUIRE(stat((f.share / "file").c_str(), &status) == 0);
  CHECK((status.st_mode & 07777) == 0600);  // without the set-user-ID bit
  CHECK(status.st_size == 4);
  CHECK(status.st_mtim.tv_sec == 2000);
  Writer get;
  get.Put<uint32_t>(1), get.Put<uint64_t>(0x7FF);
  Reader reader = f.Ask(24, get);
  reader.Bytes(8 + 13);
  CHECK(reader.Take<uint32_t>() == (S_IFREG | 0600));
  reader.Bytes(4 + 4 + 8 + 8);
  CHECK(reader.Take<uint64_t>() == 4);
  Writer fs_status;
  fs_status.Put<uint32_t>(1);
  f.Ask(8, fs_status);
  CHECK(f.error == 0);
}

TEST_CASE("9p: locks between fids", "[9p]") {
  Fixture f;
  std::ofstream(f.share / "file") << "text";
  REQUIRE(f.Walk(kRoot, 1, {"file"}) == 1);
  REQUIRE(f.Walk(kRoot, 2, {"file"}) == 1);
  CHECK(f.Open(1, O_RDWR) == 0);
  CHECK(f.Open(2, O_RDWR) == 0);
  const auto lock = [&](uint32_t fid, uint8_t type) {
    Writer body;
    body.Put<uint32_t>(fid), body.Put<uint8_t>(type), body.Put<uint32_t>(0), body.Put<uint64_t>(0);
    body.Put<uint64_t>(0), body.Put<uint32_t>(1), body.String("client");
    return f.Ask(52, body).Take<uint8_t>();
  };
  CHECK(lock(1, 1) == 0);
  CHECK(lock(2, 1) == 1);
  CHECK(lock(1, 2) == 0);
  CHECK(lock(2, 1) == 0);
}

TEST_CASE("9p: a pipe or device in the folder stops nothing", "[9p]") {
  Fixture f;
  REQUIRE(mkfifo((f.share / "pipe").c_str(), 0600) == 0);
  REQUIRE(f.Walk(kRoot, 1, {"pipe"}) == 1);
  CHECK(f.Open(1, O_RDONLY) == 0);
  CHECK(f.ReadFile(1).empty());
  Writer node;
  node.Put<uint32_t>(kRoot), node.String("disk"), node.Put<uint32_t>(S_IFBLK | 0600), node.Put<uint32_t>(8);
  node.Put<uint32_t>(0), node.Put<uint32_t>(0);
  f.Ask(18, node);
  CHECK(f.error == EPERM);
}

TEST_CASE("9p: messages that make no sense", "[9p]") {
  Fixture f;
  CHECK(f.server.Handle({}, 64).size() == 11);
  for (unsigned type = 0; type < 256; ++type) {
    for (const size_t bytes : {0, 3, 20}) {
      Writer body;
      std::fill_n(body.Append(bytes).begin(), bytes, uint8_t{0xFF});
      const std::vector<uint8_t> content = body.Finish();
      Writer message;
      message.Put<uint32_t>(static_cast<uint32_t>(7 + bytes)), message.Put<uint8_t>(static_cast<uint8_t>(type));
      message.Put<uint16_t>(1);
      std::copy(content.begin(), content.end(), message.Append(bytes).begin());
      CHECK(f.server.Handle(message.Finish(), 64).size() <= 64);
    }
  }
}

}  // namespace ring3::ninep

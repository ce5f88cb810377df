#include "devices/block/image_file.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "devices/block/open_image.h"
#include "monitor/cpu/fault.h"
#include "tests/block/temporary_folder.h"

namespace ring3 {
namespace {

std::unique_ptr<Image> OpenRaw(const std::string& path, bool read_only = false) {
  return OpenImage({.file = path, .format = ImageFormat::kRaw, .read_only = read_only});
}

}  // namespace

TEST_CASE("image: two writers of one file, or a writer and a reader, are refused", "[image]") {
  TemporaryFolder folder;
  const std::string path = folder.Write("a.raw", Bytes(4096));
  {
    const auto writer = OpenRaw(path);
    CHECK_THROWS_WITH(OpenRaw(path), Catch::Contains("in use"));
    CHECK_THROWS_WITH(OpenRaw(path, true), Catch::Contains("in use"));
  }
  const auto reader = OpenRaw(path, true);
  CHECK_NOTHROW(OpenRaw(path, true));
  CHECK_NOTHROW(OpenImage({.file = path, .format = ImageFormat::kRaw, .snapshot = true}));
  CHECK_THROWS_WITH(OpenRaw(path), Catch::Contains("in use"));
}

TEST_CASE("image: what cannot be opened is refused in one line", "[image]") {
  TemporaryFolder folder;
  CHECK_THROWS_WITH(OpenRaw(folder.Path("nothing")), Catch::Contains("No such file"));
  CHECK_THROWS_WITH(OpenRaw(folder.Path("")), Catch::Contains("directory"));
  CHECK_THROWS_WITH(OpenRaw("/dev/null"), Catch::Contains("not a file"));
  CHECK_THROWS_WITH(OpenRaw(folder.Write("empty", {})), Catch::Contains("empty"));
  mkfifo(folder.Path("pipe").c_str(), 0600);
  CHECK_THROWS_AS(OpenRaw(folder.Path("pipe")), UsageError);
  CHECK_THROWS_AS(ParseFormat("vmdk"), UsageError);
}

TEST_CASE("image: formats are told by their beginning", "[image]") {
  TemporaryFolder folder;
  const std::string vmdk = folder.Write("a.vmdk", Bytes{'K', 'D', 'M', 'V', 1, 2, 3});
  CHECK_THROWS_WITH(OpenImage({.file = vmdk}), Catch::Contains("qemu-img convert"));
  CHECK(OpenRaw(vmdk, true)->SizeBytes() == 512);
  const auto guessed = OpenImage({.file = folder.Write("a.raw", Bytes(1024))});
  Bytes sector(512);
  const Bytes magic = {'Q', 'F', 'I', 0xFB};
  std::copy(magic.begin(), magic.end(), sector.begin());
  CHECK_THROWS_AS(guessed->Write(0, sector), ImageError);
  CHECK_NOTHROW(guessed->Write(512, sector));
}

TEST_CASE("raw: a file that ends inside a sector is padded with zeros", "[image]") {
  TemporaryFolder folder;
  const auto image = OpenRaw(folder.Write("a.raw", Bytes(700, 9)));
  CHECK(image->SizeBytes() == 1024);
  Bytes bytes(1024, 1);
  image->Read(0, bytes);
  CHECK(bytes[699] == 9);
  CHECK(bytes[700] == 0);
  image->Write(512, Bytes(512, 5));
  image->Read(0, bytes);
  CHECK(bytes[1023] == 5);
}

TEST_CASE("raw: an image that was truncated under us is an error, not zeros", "[image]") {
  TemporaryFolder folder;
  const std::string path = folder.Write("a.raw", Bytes(8192, 9));
  const auto image = OpenRaw(path);
  REQUIRE(truncate(path.c_str(), 4096) == 0);
  Bytes bytes(512);
  CHECK_NOTHROW(image->Read(0, bytes));
  CHECK_THROWS_AS(image->Read(4096, bytes), ImageError);
  CHECK_THROWS_AS(image->Write(6000, bytes), ImageError);
  struct stat status = {};
  stat(path.c_str(), &status);
  CHECK(status.st_size == 4096);
}

TEST_CASE("raw: a host that has no room is an error of the write", "[image]") {
  TemporaryFolder folder;
  const std::string path = folder.Write("a.raw", {});
  REQUIRE(truncate(path.c_str(), 1 << 20) == 0);
  const auto image = OpenRaw(path);
  rlimit before = {}, small = {};
  getrlimit(RLIMIT_FSIZE, &before);
  small = {.rlim_cur = 65536, .rlim_max = before.rlim_max};
  std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  CHECK_NOTHROW(image->Write(0, Bytes(512)));
  CHECK_THROWS_AS(image->Write(1 << 19, Bytes(512)), ImageError);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, SIG_DFL);
  CHECK_NOTHROW(image->Write(1 << 19, Bytes(512)));
}

}  // namespace ring3

#include "monitor/storage/drive_options.h"

#include <catch2/catch.hpp>

#include "monitor/cpu/fault.h"

namespace ring3 {
namespace {

std::vector<DriveOptions> Drives(const std::vector<std::string>& described, bool snapshot = false) {
  DriveList list;
  for (const std::string& text : described) list.AddDescribed(text);
  return list.Finish(snapshot, false);
}

}  // namespace

TEST_CASE("drive: properties, with commas in names", "[drive]") {
  const auto drives = Drives({"file=a,,b.img,if=ide,index=1,format=qcow2,readonly=on,id=x,serial=S1"});
  REQUIRE(drives.size() == 1);
  CHECK(drives[0].image.file == "a,b.img");
  CHECK(drives[0].index == 1);
  CHECK(drives[0].image.format == ImageFormat::kQcow2);
  CHECK(drives[0].image.read_only);
  CHECK(drives[0].id == "x");
}

TEST_CASE("drive: places are given in order, the CD-ROM drive has its own", "[drive]") {
  const auto drives =
      Drives({"file=a", "file=c,media=cdrom", "file=b", "file=d", "file=v,if=virtio", "file=f,if=floppy"});
  CHECK(drives[0].index == 0);
  CHECK(drives[1].index == 2);
  CHECK(drives[1].id == "ide1-cd0");
  CHECK(drives[1].image.read_only);
  CHECK(drives[2].index == 1);
  CHECK(drives[3].index == 3);
  CHECK(drives[4].id == "virtio0");
  CHECK(drives[5].id == "floppy0");
}

TEST_CASE("drive: an empty PC has a CD-ROM drive and a floppy drive", "[drive]") {
  DriveList list;
  list.AddAt(DriveBus::kIde, 0, DriveMedia::kDisk, "a");
  const auto drives = list.Finish(true, true);
  REQUIRE(drives.size() == 3);
  CHECK(drives[0].image.snapshot);
  CHECK(drives[1].id == "ide1-cd0");
  CHECK(drives[2].id == "floppy0");
}

TEST_CASE("drive: a device of QEMU's places a drive of if=none", "[drive]") {
  DriveList list;
  list.AddDescribed("file=a,if=none,id=x");
  list.AddDescribed("file=b,if=none,id=y");
  list.AddDescribed("file=c,if=none,id=z");
  list.AddDevice("ide-hd,drive=x,bus=ide.1,unit=1,bootindex=3,serial=S");
  list.AddDevice("ide-cd,drive=y,bootindex=0");
  list.AddDevice("floppy,drive=z,unit=1");
  CHECK_THROWS_WITH(list.AddDevice("ide-hd,drive=x"), Catch::Contains("id=x"));
  CHECK_THROWS_WITH(list.AddDevice("ide-hd,bus=ide.1"), Catch::Contains("drive=ID"));
  CHECK_THROWS_WITH(list.AddDevice("ide-cd,bus=ide.2"), Catch::Contains("ide.0"));
  CHECK_THROWS_WITH(list.AddDescribed("file=d,bootindex=x"), Catch::Contains("bootindex=x"));
  const auto drives = list.Finish(false, false);
  REQUIRE(drives.size() == 3);
  CHECK(drives[0].index == 3);
  CHECK(drives[0].boot_index == 3u);
  CHECK(drives[0].serial == "S");
  CHECK(drives[1].media == DriveMedia::kCdrom);
  CHECK(drives[1].index == 2);
  CHECK(drives[2].bus == DriveBus::kFloppy);
  CHECK(drives[2].index == 1);
}

TEST_CASE("drive: mistakes are named", "[drive]") {
  CHECK_THROWS_WITH(Drives({"file=a,colour=red"}), Catch::Contains("colour"));
  CHECK_THROWS_WITH(Drives({"file=a,if=scsi"}), Catch::Contains("scsi"));
  CHECK_THROWS_WITH(Drives({"file=a,format=vmdk"}), Catch::Contains("vmdk"));
  CHECK_THROWS_WITH(Drives({"file=a,index=4"}), Catch::Contains("4"));
  CHECK_THROWS_WITH(Drives({"file=a,index=x"}), Catch::Contains("number"));
  CHECK_THROWS_WITH(Drives({"file=a,index=0", "file=b,index=0"}), Catch::Contains("two drives"));
  CHECK_THROWS_WITH(Drives({"file=a,id=x", "file=b,id=x"}), Catch::Contains("id=x"));
  CHECK_THROWS_WITH(Drives({"if=ide"}), Catch::Contains("file="));
  CHECK_THROWS_WITH(Drives({"file=a,media=cdrom,if=virtio"}), Catch::Contains("cdrom"));
  CHECK_THROWS_AS(Drives({"file=a", "file=b", "file=c", "file=d", "file=e"}), UsageError);
}

}  // namespace ring3

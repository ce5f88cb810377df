// A 9P2000.L file server: one message in, its answer out (9P2000.L protocol as of diod's protocol.md; 9P2000's
// intro(5)). All that a client sends is checked; an error becomes Rlerror, never an exception.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "devices/ninep/message.h"
#include "devices/ninep/shared_folder.h"

namespace ring3::ninep {

class Server {
 public:
  /// The largest message, whatever the client proposes.
  static constexpr uint32_t kLargestMessage = 1u << 20;
  static constexpr uint32_t kSmallestMessage = 4096;

  /// `folder` outlives the server.
  explicit Server(const SharedFolder& folder) : folder_(folder) {}

  /// `request` is a whole message. The answer is never larger than `room` bytes, which is at least kSmallestRoom, nor
  /// than the size agreed upon.
  static constexpr size_t kSmallestRoom = 11;  // of Rlerror
  std::vector<uint8_t> Handle(std::span<const uint8_t> request, size_t room);
  /// Forgets every fid.
  void Reset();

 private:
  struct DirectoryEntry {
    uint64_t inode;
    uint8_t type;
    std::string name;
  };
  /// What a client's number stands for.
  struct Fid {
    NodePointer node;
    HostFd io;  // once opened
    bool is_folder = false;
    std::vector<DirectoryEntry> entries;  // of an opened folder, as it was when reading began
    enum class Attribute : uint8_t { kNone, kRead, kWrite } attribute = Attribute::kNone;
    std::string attribute_name;
    std::vector<uint8_t> attribute_value;
    uint64_t attribute_bytes = 0;
    int attribute_flags = 0;
  };

  void Dispatch(uint8_t type, Reader& in, Writer& out);
  Fid& Find(uint32_t number);
  Fid& FindOpen(uint32_t number);
  Fid& Add(uint32_t number, NodePointer node);
  size_t MostData(const Writer& out) const;
  void PutQid(Writer& out, const struct stat& status) const;
  void PutQidOf(Writer& out, const Node& folder, const std::string& name) const;

  // The session and its fids.
  void Version(Reader& in, Writer& out);
  void Attach(Reader& in, Writer& out);
  void Walk(Reader& in, Writer& out);
  void Clunk(Reader& in, Writer& out);
  void Remove(Reader& in, Writer& out);

  // Open files.
  void Open(Reader& in, Writer& out);
  void Create(Reader& in, Writer& out);
  void Read(Reader& in, Writer& out);
  void Write(Reader& in, Writer& out);
  void ReadFolder(Reader& in, Writer& out);
  void Sync(Reader& in, Writer& out);
  void Lock(Reader& in, Writer& out);
  void GetLock(Reader& in, Writer& out);
  void ListFolder(Fid& fid);

  // Names.
  void MakeFolder(Reader& in, Writer& out);
  void MakeNode(Reader& in, Writer& out);
  void MakeLink(Reader& in, Writer& out);
  void MakeHardLink(Reader& in, Writer& out);
  void ReadLink(Reader& in, Writer& out);
  void Rename(Reader& in, Writer& out);
  void RenameAt(Reader& in, Writer& out);
  void UnlinkAt(Reader& in, Writer& out);

  // Attributes.
  void StatFolder(Reader& in, Writer& out);
  void GetAttributes(Reader& in, Writer& out);
  void SetAttributes(Reader& in, Writer& out);
  void AttributeWalk(Reader& in, Writer& out);
  void AttributeCreate(Reader& in, Writer& out);

  const SharedFolder& folder_;
  std::map<uint32_t, Fid> fids_;
  uint32_t message_bytes_ = kSmallestMessage;
  size_t room_ = 0;  // for the answer under way
};

}  // namespace ring3::ninep

#include "quantize/yaml_document.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <sstream>

#include "base/error.h"

namespace aquatint {
namespace {

// Hears what is in a document and keeps only the line it starts at.
class DocumentStart : public YAML::EventHandler {
 public:
  int line() const { return line_; }
  void OnDocumentStart(const YAML::Mark& mark) override { line_ = mark.line + 1; }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& /*mark*/, YAML::anchor_t /*anchor*/) override {}
  void OnAlias(const YAML::Mark& /*mark*/, YAML::anchor_t /*anchor*/) override {}
  void OnScalar(const YAML::Mark& /*mark*/, const std::string& /*tag*/, YAML::anchor_t /*anchor*/,
                const std::string& /*value*/) override {}
  void OnSequenceStart(const YAML::Mark& /*mark*/, const std::string& /*tag*/,
                       YAML::anchor_t /*anchor*/, YAML::EmitterStyle::value /*style*/) override {}
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& /*mark*/, const std::string& /*tag*/, YAML::anchor_t /*anchor*/,
                  YAML::EmitterStyle::value /*style*/) override {}
  void OnMapEnd() override {}

 private:
  int line_ = 1;
};

}  // namespace

YAML::Node single_yaml_document(std::string_view yaml, const std::string& origin) {
  try {
    std::istringstream stream{std::string(yaml)};
    YAML::Parser parser(stream);
    DocumentStart first, second;
    if (parser.HandleNextDocument(first) && parser.HandleNextDocument(second)) {
      raise(ErrorKind::kInvalidArgument, "'{}': line {}: a second YAML document, expected one only",
            origin, second.line());
    }
    return YAML::Load(std::string(yaml));
  } catch (const YAML::Exception& error) {
    raise(ErrorKind::kInvalidArgument, "'{}': line {}: {}", origin, error.mark.line + 1, error.msg);
  }
}

}  // namespace aquatint

// Reads containers as a Java stream reader does and verifies their signatures with the XML-DSig engine of the JDK, which comes from
// the same source as the one in X-Road. A second opinion for the tests.

import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;
import javax.xml.crypto.OctetStreamData;
import javax.xml.crypto.URIDereferencer;
import javax.xml.crypto.dsig.XMLSignatureFactory;
import javax.xml.crypto.dsig.dom.DOMValidateContext;
import javax.xml.parsers.DocumentBuilderFactory;
import org.w3c.dom.Document;
import org.w3c.dom.Element;

public class Check {
    public static void main(String[] files) throws Exception {
        for (String file : files) {
            Map<String, byte[]> entries = new HashMap<>();
            StringBuilder names = new StringBuilder();
            try (ZipInputStream zip = new ZipInputStream(new FileInputStream(file))) {
                for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
                    entries.put("/" + entry.getName(), zip.readAllBytes());
                    names.append(entry.getName()).append(' ');
                }
            }
            DocumentBuilderFactory documents = DocumentBuilderFactory.newInstance();
            documents.setNamespaceAware(true);
            Document document = documents.newDocumentBuilder().parse(new ByteArrayInputStream(entries.get("/META-INF/signatures.xml")));
            Element signature = (Element) document.getDocumentElement().getFirstChild();
            String der = signature.getElementsByTagName("ds:X509Certificate").item(0).getTextContent();
            X509Certificate certificate = (X509Certificate) CertificateFactory.getInstance("X.509")
                .generateCertificate(new ByteArrayInputStream(Base64.getMimeDecoder().decode(der)));
            DOMValidateContext context = new DOMValidateContext(certificate.getPublicKey(), signature);
            Element properties = (Element) signature.getElementsByTagName("xades:SignedProperties").item(0);
            context.setIdAttributeNS(properties, null, "Id");
            XMLSignatureFactory factory = XMLSignatureFactory.getInstance("DOM");
            URIDereferencer own = factory.getURIDereferencer();
            context.setURIDereferencer((reference, at) -> {
                byte[] entry = entries.get(reference.getURI());
                return entry == null ? own.dereference(reference, at) : new OctetStreamData(new ByteArrayInputStream(entry));
            });
            boolean valid = factory.unmarshalXMLSignature(context).validate(context);
            System.out.println((valid ? "valid " : "invalid ") + names.toString().trim());
        }
    }
}
